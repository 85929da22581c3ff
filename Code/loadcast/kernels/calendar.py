"""The calendar of hours and days: pure arithmetic on day numbers, no clock and no holiday tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]

_EPOCH = date(1970, 1, 1)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True)
class CalendarRule:
    """Where linearTrend counts from, and which days are holidays."""

    train_begin: datetime
    holidays: frozenset[date]


def first_whole_hour(time: datetime) -> int:
    """The first hour, since 1970, that does not begin before a wall-clock time."""
    return -(-epoch_seconds(time) // 3_600)


def epoch_seconds(time: datetime) -> int:
    """Seconds since 1970 of a wall-clock time."""
    return int(time.replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class Dates:
    """The dates of days since 1970, (d,), in any order; each property is one number for each of them."""

    days: Int64s
    holidays: frozenset[date]

    @cached_property
    def year(self) -> Int64s:
        """The calendar year."""
        return self._civil[0]

    @cached_property
    def month(self) -> Int64s:
        """1 to 12."""
        return self._civil[1]

    @cached_property
    def day_of_month(self) -> Int64s:
        """1 to 31."""
        return self._civil[2]

    @cached_property
    def day_of_week(self) -> Int64s:
        """1 Monday to 7 Sunday (ISO 8601)."""
        return (self.days + _EPOCH_WEEKDAY) % 7 + 1

    @cached_property
    def week_of_year(self) -> Int64s:
        """1 to 53 (ISO 8601): the week and its year are those of its Thursday."""
        thursday = self.days - self.day_of_week + 4
        return (thursday - _to_days(_civil(thursday)[0])) // 7 + 1

    @cached_property
    def is_holiday(self) -> npt.NDArray[np.bool_]:
        """Whether the day is one of the holidays."""
        return np.isin(self.days, np.array(sorted((day - _EPOCH).days for day in self.holidays), dtype=np.int64))

    @cached_property
    def _civil(self) -> tuple[Int64s, Int64s, Int64s]:
        return _civil(self.days)


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
