"""Calendar columns of an hour: pure arithmetic on hour and day numbers, no clock and no holiday tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt

from loadcast import schema

Int64s = npt.NDArray[np.int64]

_EPOCH = date(1970, 1, 1)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
BUSINESS_HOURS = (8, 18)
MORNING_HOURS = (6, 9)


@dataclass(frozen=True)
class CalendarRule:
    """Where linearTrend counts from, and which days are holidays."""

    train_begin: datetime
    holidays: frozenset[date]


def epoch_seconds(time: datetime) -> int:
    """Seconds since 1970 of a wall-clock time."""
    return int(time.replace(tzinfo=UTC).timestamp())


def calendar_columns(hours: Int64s, rule: CalendarRule) -> dict[str, npt.NDArray[np.generic]]:
    """schema.CALENDAR_COLUMNS (int32) and linearTrend (float64, years) of hours since 1970."""
    days, place = np.unique(hours // 24, return_inverse=True)
    columns = {name: values.astype(np.int32)[place] for name, values in _day_columns(days, rule).items()}
    hour = (hours % 24).astype(np.int32)
    columns["hourofday"] = hour
    columns["BusinessHour"] = _within(hour, BUSINESS_HOURS)
    columns["Morning"] = _within(hour, MORNING_HOURS)
    result: dict[str, npt.NDArray[np.generic]] = {name: columns[name] for name in schema.CALENDAR_COLUMNS}
    seconds = hours * 3_600 - epoch_seconds(rule.train_begin)
    result[schema.LINEAR_TREND] = seconds / (schema.HOURS_PER_YEAR * 3_600)
    return result


def _day_columns(days: Int64s, rule: CalendarRule) -> dict[str, Int64s]:
    weekday = (days + _EPOCH_WEEKDAY) % 7
    year, month, day_of_month = _civil(days)
    thursday = days - weekday + 3  # the ISO week and its year are those of its Thursday
    first_of_year = _to_days(_civil(thursday)[0])
    holidays = np.array(sorted((day - _EPOCH).days for day in rule.holidays), dtype=np.int64)
    return {
        "year": year,
        "month": month,
        "dayofmonth": day_of_month,
        "weekofyear": (thursday - first_of_year) // 7 + 1,
        "dayofweek": weekday + 1,
        "Holiday": np.isin(days, holidays).astype(np.int64),
    }


def _civil(days: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Year, month, day of month of days since 1970."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    number = months.astype(np.int64)
    return 1970 + number // 12, number % 12 + 1, (dates - months.astype("datetime64[D]")).astype(np.int64) + 1


def _to_days(years: Int64s) -> Int64s:
    """Days since 1970 of the first of January of each year."""
    days: Int64s = (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return days


def _within(hour: npt.NDArray[np.int32], bounds: tuple[int, int]) -> npt.NDArray[np.int32]:
    return ((hour >= bounds[0]) & (hour <= bounds[1])).astype(np.int32)
