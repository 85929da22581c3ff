"""The classic feature set, in the words of the tests."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.features import CLASSIC, Coming, Kind, coming_hours, feature_table, training_table
from loadcast.kernels.features.classic import LAGS_H
from loadcast.kernels.features.dates import HOURS_PER_YEAR
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import LabelRule

__all__ = ["CLASSIC", "HOURS_PER_YEAR", "LAGS_H"]
LAG_COLUMNS, ROLLING_COLUMNS, CALENDAR_COLUMNS, (LINEAR_TREND,) = (
    tuple(feature.name for feature in CLASSIC.features if feature.kind is kind)
    for kind in (Kind.LAG, Kind.ROLLING, Kind.CALENDAR, Kind.TREND)
)
HISTORY_COLUMNS, CATEGORICAL_COLUMNS = CLASSIC.scaled, CLASSIC.categories
FEATURES_SCHEMA, SCORING_SCHEMA, REQUEST_SCHEMA = CLASSIC.schema, CLASSIC.scoring_schema, CLASSIC.request_schema


def features_table(grid: Grid, calendar: CalendarRule, rule: LabelRule) -> pa.Table:
    """What ETL makes of a grid."""
    return training_table(CLASSIC, grid, calendar, rule)


def future_features(hourly: pa.Table, daily: pa.Table, begin: datetime, hours: int, calendar: CalendarRule) -> pa.Table:
    """What the client makes of the statistics of one server."""
    return feature_table(CLASSIC, coming_hours(hourly, daily, begin, hours, Coming(calendar)))
