"""Public holidays of a country, from the `holidays` package."""

from __future__ import annotations

from datetime import date


def holiday_days(country: str, first_year: int, last_year: int) -> frozenset[date]:
    """Days that are public holidays in `country` (ISO 3166 code) from `first_year` to `last_year`, both included."""
    from holidays import country_holidays

    return frozenset(country_holidays(country, years=range(first_year, last_year + 1)))
