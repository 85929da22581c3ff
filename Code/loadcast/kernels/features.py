"""The server kernel, second half: the hourly grid → features. ETL and the scoring client both come through here.

Nothing younger than 48 hours reaches a feature: the smallest lag is 48 hours, and the rolling window ends with the day
three days before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.calendar import CalendarRule, calendar_columns, epoch_seconds
from loadcast.kernels.server import Grid, grid_from_hourly, hours_of, keys_of, server_names, times_of

#: What a feature row for scoring holds: all but what is only known afterwards.
SCORING_SCHEMA = pa.schema(
    [field for field in schema.FEATURES_SCHEMA if field.name not in (schema.PEAK_LOAD, schema.OBSERVED, schema.LABEL)]
)


@dataclass(frozen=True)
class Thresholds:
    """Class bounds of peakLoad: low up to and including `low`, high above `high`."""

    low: float
    high: float

    def labels(self, peak_load: Float64s) -> pa.Array:
        """1 low, 2 medium, 3 high."""
        return pa.array((1 + (peak_load > self.low) + (peak_load > self.high)).astype(np.int32))


def features_table(grid: Grid, calendar: CalendarRule, thresholds: Thresholds) -> pa.Table:
    """schema.FEATURES_SCHEMA: one row per grid hour, by server and hour."""
    chosen = grid.in_grid
    hours = grid.hours[chosen]
    servers = server_names(grid)
    peak_load = grid.peaks[0][chosen]
    columns = {
        schema.KEY: keys_of(servers, hours),
        schema.SERVER: servers,
        schema.HOUR: times_of(hours),
        schema.PEAK_LOAD: pa.array(peak_load),
        schema.OBSERVED: pa.array(grid.observed[chosen]),
        schema.LABEL: thresholds.labels(peak_load),
    }
    columns |= {name: pa.array(values) for name, values in calendar_columns(hours, calendar).items()}
    columns |= {name: pa.array(values[chosen]) for name, values in _history(grid, grid.daily).items()}
    return pa.Table.from_arrays([columns[name] for name in schema.FEATURES_SCHEMA.names], schema=schema.FEATURES_SCHEMA)


def _history(grid: Grid, daily: Float64s) -> dict[str, Float64s]:
    """Lag and rolling columns for every slot."""
    columns = lag_columns(grid.peaks[0], grid.hours_since_start())
    days_before = np.arange(len(grid.day_server)) - grid.day_begins[grid.day_server]
    for name, values in zip(schema.ROLLING_COLUMNS, rolling_means(daily, days_before), strict=True):
        columns[name] = np.repeat(values, 24)
    return columns


def lag_columns(peak_load: Float64s, hours_before: Int64s) -> dict[str, Float64s]:
    """peakLoad of each of schema.LAGS_H hours earlier; 0 where the server has no such hour.

    `hours_before` counts, for each slot, the slots of the same server before it.
    """
    columns = {}
    for name, lag_h in zip(schema.LAG_COLUMNS, schema.LAGS_H, strict=True):
        lagged = np.zeros_like(peak_load)
        lagged[lag_h:] = peak_load[:-lag_h] if lag_h < len(peak_load) else 0.0
        columns[name] = np.where(hours_before >= lag_h, lagged, 0.0)
    return columns


def rolling_means(daily: Float64s, days_before: Int64s) -> Float64s:
    """Means, (8, days), over the days D−9 … D−3 the server has; 0 where it has none.

    Each window is added up on its own, oldest day first: a running sum would carry in the rounding of older days, and
    the client,
    which starts at another day, would get other last bits.
    """
    total = np.zeros_like(daily)
    number = np.zeros(daily.shape[1], dtype=np.int64)
    for back in range(schema.ROLLING_FIRST_DAY, schema.ROLLING_LAST_DAY - 1, -1):
        known = days_before >= back
        shifted = np.zeros_like(daily)
        shifted[:, back:] = daily[:, :-back] if back < daily.shape[1] else 0.0
        total += np.where(known, shifted, 0.0)
        number += known
    return total / np.maximum(number, 1)


def future_features(hourly: pa.Table, daily: pa.Table, begin: datetime, hours: int, calendar: CalendarRule) -> pa.Table:
    """Features of the `hours` hours from `begin` (a whole hour) for one server, from its statistics up to `begin`.

    `hourly` and `daily` are schema.HOURLY_SCHEMA and schema.DAILY_SCHEMA rows of that server. Hours between its last
    one and `begin` count as hours without sessions. Days that `hourly` does not cover from their first hour on are
    taken from `daily`. At most 48 hours can be asked for: later ones would need loads not yet known. Raises InputError.
    """
    first = _whole_hour(begin)
    if not 1 <= hours <= schema.HORIZON_HOURS:
        raise InputError(
            f"Asked for {hours} hours ahead; wanted 1 to {schema.HORIZON_HOURS}: later ones need loads not yet known."
        )
    grid = grid_from_hourly(hourly, until=first)
    if len(grid.servers) != 1:
        raise InputError(
            f"Found statistics of {len(grid.servers)} servers before {begin}, wanted those of exactly one."
        )
    wanted = np.arange(first, first + hours, dtype=np.int64)
    start = int(grid.first_day[0]) * 24
    # The future hours take part as slots without load, so that the same functions as in ETL look back from them.
    slots = int(-(-(wanted[-1] + 1 - start) // 24)) * 24
    peak_load = np.zeros(slots)
    peak_load[: grid.peaks.shape[1]] = grid.peaks[0]
    place = wanted - start
    columns = {name: values[place] for name, values in lag_columns(peak_load, np.arange(slots)).items()}
    hours_known = hours_of(hourly.column(schema.HOUR))
    means, day_numbers = _known_days(grid, daily, int(hours_known[hours_known < first].max()) // 24)
    columns |= _rolling_at(means, day_numbers, wanted // 24)
    servers = pa.array([grid.servers[0]] * hours, pa.string())
    arrays = {schema.KEY: keys_of(servers, wanted), schema.SERVER: servers, schema.HOUR: times_of(wanted)}
    arrays |= {name: pa.array(values) for name, values in (calendar_columns(wanted, calendar) | columns).items()}
    return pa.Table.from_arrays([arrays[name] for name in SCORING_SCHEMA.names], schema=SCORING_SCHEMA)


def _whole_hour(time: datetime) -> int:
    seconds = epoch_seconds(time)
    if seconds % 3_600 or time.microsecond:
        raise InputError(f"The forecast's start is {time}; wanted a whole hour, such as 2016-07-01 00:00:00.")
    return seconds // 3_600


def _known_days(grid: Grid, daily: pa.Table, last_day: int) -> tuple[Float64s, Int64s]:
    """Daily means (8, days) and their day numbers: of the grid's days, and before those the published ones.

    `last_day` is the day of the last hour that was read.
    """
    numbers = hours_of(daily.column(schema.DAY)) // 24
    first_day = int(grid.first_day[0])
    # The grid's first day may begin before the hours that were read: then the published mean knows more. But where the
    # statistics end on that day, their mean lacks its last hours, which count as hours without sessions here.
    cut = grid.first[0] % 24 != 0 and last_day > first_day and bool(np.any(numbers == first_day))
    older = numbers < first_day + cut
    published = np.stack([daily.column(name).to_numpy() for name in schema.DAILY])[:, older]
    means = np.concatenate((published, grid.daily[:, int(cut) :]), axis=1)
    return means, np.concatenate((numbers[older], grid.day_number[int(cut) :]))


def _rolling_at(means: Float64s, numbers: Int64s, days: Int64s) -> dict[str, Float64s]:
    """Rolling columns at these days."""
    low = int(min(numbers.min(), days.min() - schema.ROLLING_FIRST_DAY))
    span = int(max(numbers.max(), days.max())) - low + 1
    dense = np.zeros((means.shape[0], span))
    dense[:, numbers - low] = means
    before = np.arange(span) - (int(numbers.min()) - low)
    return dict(zip(schema.ROLLING_COLUMNS, rolling_means(dense, before)[:, days - low], strict=True))
