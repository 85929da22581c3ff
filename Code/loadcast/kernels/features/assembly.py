"""The server kernel, second half: the grid → feature rows. ETL and the scoring client both come through here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.features.feature_set import FeatureSet, Origin
from loadcast.kernels.features.rows import FeatureRows
from loadcast.kernels.grid import Grid, grid_of_nothing, grid_to_come, joined, keys_of, times_of
from loadcast.kernels.labels import UNLABELLED, LabelRule
from loadcast.kernels.naive import naive_columns


def every_hour(grid: Grid, calendar: CalendarRule) -> FeatureRows:
    """All grid hours, by server and hour; each knows what a forecast made schema.HORIZON_HOURS before it knew."""
    slots = np.flatnonzero(grid.in_grid)
    return FeatureRows(grid, slots, slots - schema.HORIZON_HOURS, calendar)


@dataclass(frozen=True)
class Coming:
    """How the hours to come are seen: what their forecasts know, by which calendar and bounds."""

    calendar: CalendarRule
    origin: Origin = Origin.HOUR
    rule: LabelRule | None = None


def coming_hours(hourly: pa.Table, daily: pa.Table, begin: datetime, hours: int, coming: Coming) -> FeatureRows:
    """The `hours` hours from `begin` (a whole hour) of one server, from its statistics up to `begin`.

    `hourly` and `daily` are schema.HOURLY_SCHEMA and schema.DAILY_SCHEMA rows of that server. Hours between its last
    one and `begin` count as hours without sessions. Days that `hourly` does not cover from their first hour on are
    taken from `daily`. At most 48 hours can be asked for: later ones would need loads not yet known. Raises InputError.
    """
    first = _first_hour(begin, hours)
    return _to_come(grid_to_come(hourly, daily, first, hours), first, hours, coming)


def hours_together(each: Sequence[FeatureRows]) -> FeatureRows:
    """Rows of several grids as rows of one, in their order; they are seen by the same calendar and bounds.

    What is made of them are the same numbers, sooner: most of the work is the same for one server as for many.
    """
    grids = [rows.grid for rows in each]
    begins = np.cumsum([0, *(len(grid.observed) for grid in grids[:-1])])
    slots, origins = (
        np.concatenate([begin + getattr(rows, name) for begin, rows in zip(begins, each, strict=True)])
        for name in ("slots", "origins")
    )
    return FeatureRows(joined(grids), slots, origins, each[0].calendar, each[0].rule)


def unknown_hours(server: str, begin: datetime, hours: int, coming: Coming) -> FeatureRows:
    """The same of a server without any statistics. Raises InputError."""
    first = _first_hour(begin, hours)
    return _to_come(grid_of_nothing(server, first, hours), first, hours, coming)


def _first_hour(begin: datetime, hours: int) -> int:
    first = _whole_hour(begin)
    if not 1 <= hours <= schema.HORIZON_HOURS:
        raise InputError(
            f"Asked for {hours} hours ahead; wanted 1 to {schema.HORIZON_HOURS}: later ones need loads not yet known."
        )
    return first


def _to_come(grid: Grid, first: int, hours: int, coming: Coming) -> FeatureRows:
    slots = np.arange(first, first + hours, dtype=np.int64) - int(grid.first_day[0]) * 24
    origins = np.full(hours, slots[0] - 1) if coming.origin is Origin.FORECAST else slots - schema.HORIZON_HOURS
    return FeatureRows(grid, slots, origins, coming.calendar, coming.rule)


def feature_table(features: FeatureSet, rows: FeatureRows) -> pa.Table:
    """`features.scoring_schema`: all that is known of the rows before their hour."""
    arrays = [*_identity(rows), *(feature.column(rows) for feature in features.features)]
    return pa.Table.from_arrays(arrays, schema=features.scoring_schema)


def training_table(features: FeatureSet, grid: Grid, calendar: CalendarRule, rule: LabelRule | None) -> pa.Table:
    """`features.schema`: one row per grid hour, by server and hour, with its load and label.

    Without a rule, whose bounds may still be to be learned, the rows are UNLABELLED; `labelled` labels them.
    """
    rows = every_hour(grid, calendar)
    peak_load = rows.peaks(schema.PEAK_LOAD).take(rows.slots)
    labels = (
        np.full(len(peak_load), UNLABELLED, dtype=np.int32)
        if rule is None
        else rule.labels(peak_load, grid.servers, rows.codes)
    )
    truth = (pa.array(peak_load), pa.array(grid.observed.take(rows.slots)), pa.array(labels))
    arrays = [*_identity(rows), *truth, *(feature.column(rows) for feature in features.columns)]
    return pa.Table.from_arrays(arrays, schema=features.schema)


def relative_table(features: FeatureSet, rows: FeatureRows, known_until: int) -> pa.Table:
    """`features.schema` of a set that simulates cutoffs: the rows' loads, labels, naive forecasts and features.

    `known_until` (an hour since 1970) is where the training of these rows ends: none of their origins lies before the
    hour before it, but those of a set that knows less.
    """
    peak_load = rows.peaks(schema.PEAK_LOAD).take(rows.slots)
    labels = rows.bounds.labels(peak_load, rows.grid.servers, rows.codes)
    truth = (pa.array(peak_load), pa.array(rows.grid.observed.take(rows.slots)), pa.array(labels))
    origins = times_of(rows.hours - (rows.slots - rows.origins))
    naive = (pa.array(said) for said in naive_columns(rows.relative, known_until).values())
    columns = (feature.column(rows) for feature in features.columns)
    return pa.Table.from_arrays([*_identity(rows), origins, *truth, *naive, *columns], schema=features.schema)


def labelled(rows: pa.Table, rule: LabelRule) -> pa.Table:
    """The rows of a training_table with the labels of this rule."""
    servers = rows.column(schema.SERVER).combine_chunks().dictionary_encode()
    if isinstance(servers, pa.ChunkedArray):  # no rows
        return rows
    codes = servers.indices.to_numpy().astype(np.int64)
    labels = rule.labels(rows.column(schema.PEAK_LOAD).to_numpy(), servers.dictionary.to_pylist(), codes)
    return rows.set_column(rows.schema.get_field_index(schema.LABEL), rows.schema.field(schema.LABEL), pa.array(labels))


def _identity(rows: FeatureRows) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Key, ServerIP and hour."""
    return keys_of(rows.servers, rows.hours), rows.servers, times_of(rows.hours)


def _whole_hour(time: datetime) -> int:
    seconds = epoch_seconds(time)
    if seconds % 3_600 or time.microsecond:
        raise InputError(f"The forecast's start is {time}; wanted a whole hour, such as 2016-07-01 00:00:00.")
    return seconds // 3_600
