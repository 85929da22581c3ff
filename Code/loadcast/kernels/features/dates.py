"""Features of the calendar."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.features.feature import Compute, Encoding, Feature, Kind
from loadcast.kernels.features.rows import FeatureRows

HOURS_PER_YEAR = 365.25 * 24
BUSINESS_HOURS = (8, 18)
MORNING_HOURS = (6, 9)

Column = npt.NDArray[Any]


def calendar(name: str, span: tuple[int, int], meaning: str, compute: Compute, unit: str = "") -> Feature:
    """A feature of the calendar that is a whole number within `span`, and so a category."""
    low, high = span
    return Feature(name, Kind.CALENDAR, Encoding.CATEGORY, unit, meaning, compute, low=low, high=high)


def _year(rows: FeatureRows) -> Column:
    return rows.of_day(rows.dates.year)


def _month(rows: FeatureRows) -> Column:
    return rows.of_day(rows.dates.month)


def _week_of_year(rows: FeatureRows) -> Column:
    return rows.of_day(rows.dates.week_of_year)


def _day_of_month(rows: FeatureRows) -> Column:
    return rows.of_day(rows.dates.day_of_month)


def _day_of_week(rows: FeatureRows) -> Column:
    return rows.of_day(rows.dates.day_of_week)


def _holiday(rows: FeatureRows) -> Column:
    return rows.of_day(rows.dates.is_holiday)


def _hour_of_day(rows: FeatureRows) -> Column:
    return rows.slots % 24


def _business_hour(rows: FeatureRows) -> Column:
    return _within(rows, BUSINESS_HOURS)


def _morning(rows: FeatureRows) -> Column:
    return _within(rows, MORNING_HOURS)


def _within(rows: FeatureRows, span: tuple[int, int]) -> Column:
    hours = np.arange(24)
    return ((hours >= span[0]) & (hours <= span[1])).take(rows.slots % 24)


def _linear_trend(rows: FeatureRows) -> Column:
    seconds = rows.hours * 3_600 - epoch_seconds(rows.calendar.train_begin)
    return seconds / (HOURS_PER_YEAR * 3_600)


YEAR = calendar("year", (1, 9999), "of the hour", _year)
MONTH = calendar("month", (1, 12), "of the hour", _month)
WEEK_OF_YEAR = calendar("weekofyear", (1, 53), "ISO 8601 week", _week_of_year)
DAY_OF_MONTH = calendar("dayofmonth", (1, 31), "of the hour", _day_of_month)
HOUR_OF_DAY = calendar("hourofday", (0, 23), "of the hour", _hour_of_day)
DAY_OF_WEEK = calendar("dayofweek", (1, 7), "ISO 8601: 1 Monday … 7 Sunday", _day_of_week)
HOLIDAY = calendar("Holiday", (0, 1), "the day is a public holiday of `holidayCountry`", _holiday, "0/1")
BUSINESS_HOUR = calendar("BusinessHour", (0, 1), "hourofday from 8 to 18", _business_hour, "0/1")
MORNING = calendar("Morning", (0, 1), "hourofday from 6 to 9", _morning, "0/1")
LINEAR_TREND = Feature(
    "linearTrend", Kind.TREND, Encoding.PLAIN, "years", "(hour − trainBegin) ÷ 365.25 days", _linear_trend
)
