"""The feature set that loadcast began with: calendar, lags from 48 hours on, and means of a week.

It stays as it is, bit for bit: bundles name it by its version. New columns make a set of their own.
"""

from __future__ import annotations

from loadcast import schema
from loadcast.kernels.features import dates
from loadcast.kernels.features.feature_set import FeatureSet
from loadcast.kernels.features.history import lag, rolling_mean

LAGS_H = (48, 49, 50, 51, 52, 55, 60, 67, 72, 96, 168, 730)
_CALENDAR = (
    dates.YEAR,
    dates.MONTH,
    dates.WEEK_OF_YEAR,
    dates.DAY_OF_MONTH,
    dates.HOUR_OF_DAY,
    dates.DAY_OF_WEEK,
    dates.HOLIDAY,
    dates.BUSINESS_HOUR,
    dates.MORNING,
)

CLASSIC = FeatureSet(
    "classic",
    1,
    (
        *_CALENDAR,
        dates.LINEAR_TREND,
        *map(lag, LAGS_H),
        *(rolling_mean(f"{name}DailyLag2Win7", name, 9, 3) for name in schema.PEAKS),
    ),
    categories=(
        "dayofweek",
        schema.SERVER,
        "year",
        "month",
        "weekofyear",
        "dayofmonth",
        "hourofday",
        "Holiday",
        "BusinessHour",
        "Morning",
    ),
)
