"""The server kernel, first half: 5-minute sums → complete hourly grid → daily means, for any number of servers at once.

Each server has a run of whole days in the arrays of a Grid: 24 slots a day, from the day of its first to the day of its
last hour. Slots before its first and after its last hour hold zeros and are no grid hours. So a lag of 48 hours is 48
slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.buckets import Buckets, Float64s, Int64s, round_sums

_BUCKETS_PER_HOUR = 3_600 // schema.BUCKET_SECONDS
_BUCKETS_PER_DAY = 24 * _BUCKETS_PER_HOUR
_US_PER_HOUR = 3_600_000_000
_PEAKS = len(schema.PEAKS)
#: Hours to work on together, of about 600 bytes each (30 years of one server, or a year of 30).
WORK_SLOTS = 24 * 366 * 30


@dataclass(frozen=True)
class Grid:
    """Hourly peaks of n servers.

    `first` and `last` are hours since 1970, (n,); `peaks` (8, slots); `observed` (slots,). Hours still to come may be
    among them, without load. `daily_means` (8, days) are given where the peaks do not say them all.
    """

    servers: tuple[str, ...]
    first: Int64s
    last: Int64s
    peaks: Float64s
    observed: npt.NDArray[np.bool_]
    daily_means: Float64s | None = None

    @cached_property
    def first_day(self) -> Int64s:
        """Day since 1970 of each server's first hour."""
        return self.first // 24

    @cached_property
    def days(self) -> Int64s:
        """How many days each server's run has."""
        return self.last // 24 - self.first_day + 1

    @cached_property
    def day_begins(self) -> Int64s:
        """Index of each server's first day among all days."""
        return np.cumsum(self.days) - self.days

    @cached_property
    def day_server(self) -> Int64s:
        """Which server each day belongs to."""
        return np.repeat(np.arange(len(self.servers)), self.days)

    @cached_property
    def day_number(self) -> Int64s:
        """Days since 1970, for each day."""
        return np.arange(len(self.day_server)) + np.repeat(self.first_day - self.day_begins, self.days)

    @cached_property
    def hours(self) -> Int64s:
        """Hours since 1970, for each slot."""
        return (self.day_number[:, None] * 24 + np.arange(24)).ravel()

    @cached_property
    def in_grid(self) -> npt.NDArray[np.bool_]:
        """Which slots are grid hours: from the server's first to its last."""
        first = np.repeat(self.first[self.day_server], 24)
        last = np.repeat(self.last[self.day_server], 24)
        return (self.hours >= first) & (self.hours <= last)

    @cached_property
    def daily(self) -> Float64s:
        """Daily means, (8, days).

        Added up hour by hour, so that the result does not depend on where a server's run begins.
        """
        if self.daily_means is not None:
            return self.daily_means
        by_hour = self.peaks.reshape(_PEAKS, -1, 24)
        total = by_hour[:, :, 0].copy()
        for hour in range(1, 24):
            total += by_hour[:, :, hour]
        means: Float64s = total / self.in_grid.reshape(-1, 24).sum(axis=1)
        return means


def portions(sums: Buckets, most_slots: int) -> Iterator[Buckets]:
    """The sums in portions of whole servers whose grids have about `most_slots` slots together, or one server's.

    A server with few sessions far apart has few sums but a long grid: this bounds the memory of the latter.
    """
    begins = np.flatnonzero(np.diff(sums.codes, prepend=-1))
    ends = np.append(begins[1:], len(sums.codes))
    slots = (sums.buckets[ends - 1] // _BUCKETS_PER_DAY - sums.buckets[begins] // _BUCKETS_PER_DAY + 1) * 24
    portion = (np.cumsum(slots) - slots) // most_slots
    for first in np.flatnonzero(np.diff(portion, prepend=-1)).tolist():
        last = int(np.searchsorted(portion, portion[first], side="right")) - 1
        begin, end = int(begins[first]), int(ends[last])
        yield Buckets(
            sums.servers, sums.codes[begin:end], sums.buckets[begin:end], sums.counts[begin:end], sums.sums[begin:end]
        )


def build_grid(sums: Buckets) -> Grid:
    """The grid of the servers of `sums`, each from its first to its last hour with a session.

    Empty servers are left out. Only here, where all parts of a sum are together, are sums rounded: so neither the order
    of rows nor the cutting of files shows in a peak.
    """
    hours, rounded = sums.buckets // _BUCKETS_PER_HOUR, round_sums(sums.sums)
    starts = _starts(sums.codes, hours)
    peak = _peak_buckets(rounded[:, 0], starts)
    present, codes = np.unique(sums.codes[peak], return_inverse=True)
    names = tuple(sums.servers[code] for code in present.tolist())
    return _fill(names, codes, hours[peak], rounded[peak].T, np.ones(len(peak), dtype=bool))


def _starts(codes: Int64s, hours: Int64s) -> Int64s:
    """Where a new (server, hour) begins."""
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    changes = (codes[1:] != codes[:-1]) | (hours[1:] != hours[:-1])
    return np.concatenate((np.zeros(1, dtype=np.int64), np.flatnonzero(changes) + 1))


def _peak_buckets(total: Float64s, starts: Int64s) -> Int64s:
    """Index of the earliest bucket with the hour's largest SumTotalLoad, for each (server, hour)."""
    if not len(starts):
        return starts
    sizes = np.diff(np.append(starts, len(total)))
    largest = np.flatnonzero(total == np.repeat(np.maximum.reduceat(total, starts), sizes))
    return largest[np.searchsorted(largest, starts)]


def _fill(
    names: tuple[str, ...], codes: Int64s, hours: Int64s, peaks: Float64s, observed: npt.NDArray[np.bool_]
) -> Grid:
    """A grid from entries sorted by (code, hour); `codes` index `names`, each of which has at least one entry."""
    indices = np.arange(len(names))
    begins = np.searchsorted(codes, indices)
    first, last = hours[begins], hours[np.searchsorted(codes, indices, side="right") - 1]
    days = last // 24 - first // 24 + 1
    day_begins = np.cumsum(days) - days
    slots = int(days.sum()) * 24
    slot = hours - (first // 24 * 24)[codes] + day_begins[codes] * 24
    full = np.zeros((_PEAKS, slots))
    full[:, slot] = peaks
    seen = np.zeros(slots, dtype=bool)
    seen[slot] = observed
    return Grid(names, first, last, full, seen)


def grid_from_hourly(hourly: pa.Table, until: int | None = None) -> Grid:
    """The grid of hourly statistics (schema.HOURLY_SCHEMA, any order, gaps allowed).

    With `until` (an hour since 1970), each server's grid goes on, with hours without sessions, to the hour before it;
    what lies from there on is left out.
    """
    hours = hours_of(hourly.column(schema.HOUR))
    if until is not None:
        wanted = hours < until
        hourly, hours = hourly.filter(pa.array(wanted)), hours[wanted]
    encoded = pc.dictionary_encode(hourly.column(schema.SERVER).combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy().astype(np.int64)
    order = np.lexsort((hours, codes))
    peaks = np.stack([hourly.column(name).to_numpy() for name in schema.PEAKS])[:, order]
    observed = hourly.column(schema.OBSERVED).to_numpy()[order]
    codes, hours = codes[order], hours[order]
    names = tuple(encoded.dictionary.to_pylist())
    if until is not None and len(names):
        codes, hours, peaks, observed = _with_end(until - 1, codes, hours, (peaks, observed))
    return _fill(names, codes, hours, peaks, observed)


def grid_of_loads(rows: pa.Table) -> Grid:
    """The grid of rows that stand for every hour of each server, and say its load alone; other peaks are 0.

    They have the columns ServerIP, hour, peakLoad and observed; a server's rows stand together, by hour.
    """
    encoded = rows.column(schema.SERVER).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    peaks = np.zeros((_PEAKS, len(rows)))
    peaks[schema.PEAKS.index(schema.PEAK_LOAD)] = rows.column(schema.PEAK_LOAD).to_numpy()
    observed = rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False)
    codes = encoded.indices.to_numpy().astype(np.int64)
    return _fill(tuple(encoded.dictionary.to_pylist()), codes, hours_of(rows.column(schema.HOUR)), peaks, observed)


def loads_table(grid: Grid) -> pa.Table:
    """The rows that grid_of_loads takes: schema.LOADS_SCHEMA."""
    chosen = grid.in_grid
    load = grid.peaks[schema.PEAKS.index(schema.PEAK_LOAD)][chosen]
    columns = [server_names(grid), times_of(grid.hours[chosen]), pa.array(load), pa.array(grid.observed[chosen])]
    return pa.Table.from_arrays(columns, schema=schema.LOADS_SCHEMA)


def _with_end(
    end: int, codes: Int64s, hours: Int64s, rest: tuple[Float64s, npt.NDArray[np.bool_]]
) -> tuple[Int64s, Int64s, Float64s, npt.NDArray[np.bool_]]:
    """The entries with one more, of zeros, at hour `end` for each server that has none there."""
    peaks, observed = rest
    lasts = np.append(np.flatnonzero(codes[1:] != codes[:-1]), len(codes) - 1)
    short = lasts[hours[lasts] < end]
    return (
        np.insert(codes, short + 1, codes[short]),
        np.insert(hours, short + 1, end),
        np.insert(peaks, short + 1, 0.0, axis=1),
        np.insert(observed, short + 1, False),
    )


def grid_to_come(hourly: pa.Table, daily: pa.Table, begin: int, hours: int) -> Grid:
    """The grid of one server up to `begin` (an hour since 1970), and on through the `hours` hours that it starts.

    Of `hourly` and `daily` (schema.HOURLY_SCHEMA, schema.DAILY_SCHEMA) only what lies before `begin` counts; hours
    without statistics before it are hours without sessions. Days before those that `hourly` covers from their first
    hour on have their means from `daily`, and no load. Raises InputError.
    """
    known = grid_from_hourly(hourly, until=begin)
    if len(known.servers) != 1:
        time = np.datetime64(begin, "h").astype("datetime64[s]").item()
        raise InputError(
            f"Found statistics of {len(known.servers)} servers before {time}, wanted those of exactly one."
        )
    times = hours_of(hourly.column(schema.HOUR))
    means, days = _known_days(known, daily, int(times[times < begin].max()) // 24)
    first_day, last = min(int(days.min()), int(known.first_day[0])), begin + hours - 1
    number = last // 24 - first_day + 1
    daily_means, peaks = np.zeros((_PEAKS, number)), np.zeros((_PEAKS, number * 24))
    daily_means[:, days - first_day] = means
    start, end = int(known.first_day[0] - first_day) * 24, begin - first_day * 24
    peaks[:, start:end] = known.peaks[:, : end - start]
    observed = np.zeros(number * 24, dtype=bool)
    observed[start:end] = known.observed[: end - start]
    first = int(known.first[0]) if not start else first_day * 24
    return Grid(known.servers, np.array([first]), np.array([last]), peaks, observed, daily_means)


def grid_of_nothing(server: str, begin: int, hours: int) -> Grid:
    """The grid of a server of which nothing is known before `begin` (an hour since 1970), through `hours` hours."""
    first_day, last = begin // 24, begin + hours - 1
    slots = (last // 24 - first_day + 1) * 24
    peaks, observed = np.zeros((_PEAKS, slots)), np.zeros(slots, dtype=bool)
    return Grid((server,), np.array([begin]), np.array([last]), peaks, observed)


def joined(grids: Sequence[Grid]) -> Grid:
    """The servers of one or more grids in one, in their order, each with its own days and daily means."""
    return Grid(
        tuple(server for grid in grids for server in grid.servers),
        np.concatenate([grid.first for grid in grids]),
        np.concatenate([grid.last for grid in grids]),
        np.concatenate([grid.peaks for grid in grids], axis=1),
        np.concatenate([grid.observed for grid in grids]),
        np.concatenate([grid.daily for grid in grids], axis=1),
    )


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


def keys_of(servers: pa.Array, hours: Int64s) -> pa.Array:
    """`<ServerIP>_<yyyy-MM-dd HH:mm:ss>` for each row."""
    distinct, index = _distinct(hours)
    texts = np.datetime_as_string(distinct.astype("datetime64[h]"), unit="s")
    encoded = pa.DictionaryArray.from_arrays(
        pa.array(index.astype(np.int32)), pa.array([text.replace("T", " ") for text in texts.tolist()])
    )
    return pc.binary_join_element_wise(servers, encoded.cast(pa.string()), "_")


def _distinct(hours: Int64s) -> tuple[Int64s, Int64s]:
    """Hours that hold all of `hours`, and which of them each is: without a sort where they lie close together."""
    if len(hours) and (span := int(hours.max() - hours.min()) + 1) <= len(hours):
        return hours.min() + np.arange(span), hours - hours.min()
    return np.unique(hours, return_inverse=True)


def server_names(grid: Grid) -> pa.Array:
    """ServerIP for each grid hour."""
    slots = np.repeat(grid.day_server, 24)[grid.in_grid]
    return pa.array(grid.servers, pa.string()).take(pa.array(slots))


def hours_of(times: pa.ChunkedArray) -> Int64s:
    """Hours since 1970 of timestamps."""
    hours: Int64s = times.cast(schema.TIMESTAMP).cast(pa.int64()).to_numpy() // _US_PER_HOUR
    return hours


def times_of(hours: Int64s) -> pa.Array:
    """Timestamps of hours since 1970."""
    return pa.array(hours * _US_PER_HOUR).cast(schema.TIMESTAMP)


def hourly_table(grid: Grid) -> pa.Table:
    """schema.HOURLY_SCHEMA: one row per grid hour, by server and hour."""
    chosen = grid.in_grid
    hours = grid.hours[chosen]
    servers = server_names(grid)
    columns = [keys_of(servers, hours), servers, times_of(hours)]
    columns += [pa.array(peak[chosen]) for peak in grid.peaks]
    return pa.Table.from_arrays([*columns, pa.array(grid.observed[chosen])], schema=schema.HOURLY_SCHEMA)


def daily_table(grid: Grid) -> pa.Table:
    """schema.DAILY_SCHEMA: one row per server and day."""
    servers = pa.array(grid.servers, pa.string()).take(pa.array(grid.day_server))
    columns = [servers, times_of(grid.day_number * 24), *(pa.array(mean) for mean in grid.daily)]
    return pa.Table.from_arrays(columns, schema=schema.DAILY_SCHEMA)
