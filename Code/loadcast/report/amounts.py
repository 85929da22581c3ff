"""Numbers of any size in a few digits, for people."""

from __future__ import annotations

_WHOLE_FROM = 1000


def amount(value: float) -> str:
    """A load or a cost: whole from 1,000 on, with four significant digits below."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.4g}"
