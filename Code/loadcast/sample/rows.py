"""Rows of the hours of one file, as CSV bytes: pure, in chunks of bounded size.

An hour's rows are dealt to the servers by their traffic, and to the hour's twelve 5-minute buckets at random, at least
one to the peak bucket. A bucket's load is a given share of the hour's target and is divided among the bucket's
sessions: so the 5-minute sums are the same for two sessions and for two thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from loadcast.sample.csvtext import LARGEST_VALUE, DayText, SessionBlock, encode_sessions
from loadcast.sample.profiles import Floats, ServerPlan, day_load
from loadcast.sample.spec import SampleSpec
from loadcast.schema import BUCKET_SECONDS

Integers = NDArray[np.int64]

CHUNK_ROWS = 131_072
BUCKETS_PER_HOUR = 3600 // BUCKET_SECONDS
_ROWS = 3  # stream of random numbers
_RANDOM_BYTES = 29  # of each row
#: Load of the other buckets of an hour, as a share of the peak bucket's.
OFF_PEAK_SHARE = (0.30, 0.95)


def _quantiles(levels: int) -> Floats:
    """Evenly spaced points of the standard exponential distribution, in order."""
    return np.asarray(-np.log1p(-(np.arange(levels) + 0.5) / levels))


# Tables that turn a random byte or 16-bit number into a draw.
_SESSION_WEIGHT = _quantiles(65_536) + 0.15
_DURATION_S = np.minimum(1 + _quantiles(65_536) * 240, 7200).astype(np.int64)
_HEAVY_TAIL = (_quantiles(256) ** 1.3).astype(np.float32)
_CONNECTIONS = np.minimum(1 + _quantiles(256) * 9, 99).astype(np.uint8)
_TRAFFIC_TYPE = np.repeat(np.array([1, 2, 3, 4], np.uint8), [140, 70, 30, 16])
_GRADE = np.repeat(np.array([1, 2, 3, 4, 5], np.uint8), [40, 60, 90, 40, 26])


@dataclass(frozen=True)
class Chunk:
    """Some whole lines of a file: `rows` of them, in order of SessionStart."""

    text: bytes
    rows: int


@dataclass(frozen=True)
class Cells:
    """Sessions and load of each 5-minute bucket of each server; both bucket × server."""

    rows: Integers
    load: Floats


def rows_of_hours(spec: SampleSpec, plan: ServerPlan) -> Integers:
    """How many rows each hour of the period gets; they add up to the spec's rows."""
    traffic = np.concatenate([day_load(spec, plan, day).traffic.sum(axis=0) for day in range(spec.days)])
    share = np.cumsum(traffic)
    bounds = np.rint(share / share[-1] * spec.rows).astype(np.int64)
    rows: Integers = np.diff(bounds, prepend=0)
    return rows


def file_chunks(spec: SampleSpec, plan: ServerPlan, first_hour: int, hour_rows: Integers) -> Iterator[Chunk]:
    """The clean rows of consecutive hours from `first_hour` on (counted from the spec's start), `hour_rows` in each."""
    end_hour = first_hour + len(hour_rows)
    for day in range(first_hour // 24, -(-end_hour // 24)):
        begin, end = max(first_hour, day * 24), min(end_hour, day * 24 + 24)
        yield from _day_chunks(spec, plan, range(begin, end), hour_rows[begin - first_hour : end - first_hour])


def _day_chunks(spec: SampleSpec, plan: ServerPlan, hours: range, hour_rows: Integers) -> Iterator[Chunk]:
    if not hour_rows.any():
        return
    day = hours.start // 24
    rng = np.random.default_rng([spec.seed, _ROWS, hours.start])
    load = day_load(spec, plan, day)
    part = slice(hours.start - day * 24, hours.stop - day * 24)
    cells = _deal(load.peak[:, part], load.traffic[:, part], hour_rows, rng)
    today = spec.start + timedelta(days=day)
    text = DayText(
        today=f"{today:%Y-%m-%d}".encode(),
        tomorrow=f"{today + timedelta(days=1):%Y-%m-%d}".encode(),
        addresses=np.array(plan.addresses, dtype="S15"),
    )
    bucket_rows = cells.rows.sum(axis=1)
    for begin, end in _cuts(bucket_rows):
        first_s = part.start * 3600 + begin * BUCKET_SECONDS
        block = _sessions(plan, Cells(cells.rows[begin:end], cells.load[begin:end]), first_s, rng)
        yield Chunk(encode_sessions(block, text), len(block.start_s))


def _deal(peak: Floats, traffic: Floats, hour_rows: Integers, rng: np.random.Generator) -> Cells:
    """Deal each hour's rows to servers and buckets; `peak` and `traffic` are server × hour."""
    servers, hours = peak.shape
    # Systematic sampling: each server gets its expected number, rounded up or down, and the hour's total is exact.
    dealt = np.cumsum(traffic, axis=0)
    dealt = np.floor(dealt / dealt[-1] * hour_rows + rng.random(hours) * 0.999)
    sessions = np.diff(dealt, axis=0, prepend=0).astype(np.int64)
    is_peak = np.arange(BUCKETS_PER_HOUR) == rng.integers(0, BUCKETS_PER_HOUR, (servers, hours, 1))
    rows = (is_peak & (sessions > 0)[:, :, None]).astype(np.int64)
    several = sessions > 1
    rows[several] += rng.multinomial(sessions[several] - 1, np.full(BUCKETS_PER_HOUR, 1 / BUCKETS_PER_HOUR))
    load = np.where(is_peak, 1.0, rng.uniform(*OFF_PEAK_SHARE, is_peak.shape)) * peak[:, :, None]
    buckets = hours * BUCKETS_PER_HOUR
    return Cells(
        rows=np.ascontiguousarray(rows.reshape(servers, buckets).T),
        load=np.ascontiguousarray(load.reshape(servers, buckets).T),
    )


def _cuts(bucket_rows: Integers) -> Iterator[tuple[int, int]]:
    """Runs of buckets with about CHUNK_ROWS rows each; a bucket is never split, and an empty run is left out."""
    filled = np.cumsum(bucket_rows)
    begin = done = 0
    while begin < len(filled) and done < filled[-1]:
        end = max(begin + 1, int(np.searchsorted(filled, done + CHUNK_ROWS, side="right")))
        if filled[end - 1] > done:
            yield begin, end
        begin, done = end, int(filled[end - 1])


def _sessions(plan: ServerPlan, cells: Cells, first_s: int, rng: np.random.Generator) -> SessionBlock:
    """Draw the sessions of consecutive buckets, the first of which starts `first_s` seconds into the day."""
    servers = cells.rows.shape[1]
    cell = np.repeat(np.arange(cells.rows.size), cells.rows.ravel())
    count = len(cell)
    noise = np.frombuffer(rng.bytes(count * _RANDOM_BYTES), np.uint8).reshape(_RANDOM_BYTES, count)
    wide = noise[:6].reshape(-1).view(np.uint16).reshape(3, count)
    second, server = _in_order(cell, wide[0], servers)
    total = _split_load(cells.load, second // BUCKET_SECONDS * servers + server, wide[1])
    mix = plan.mix.T.astype(np.float32)
    loads = np.empty((7, count), np.int32)
    for i, share in enumerate(mix):
        jitter = noise[6 + i] * np.float32(0.5 / 255) + np.float32(0.75)
        # Two decimals; the rounding is at random, so that sums of tiny values stay right.
        loads[i] = _thousandths(total * share[server] * jitter, 100, noise[12 + i])
    loads[6] = _thousandths(total, 1000, noise[18])
    mbytes = total * (_HEAVY_TAIL[noise[19]] * np.float32(0.12))
    start_s = second + first_s
    return SessionBlock(
        traffic_type=_TRAFFIC_TYPE[noise[20]],
        start_s=start_s,
        end_s=start_s + _DURATION_S[wide[2]],
        connections=_CONNECTIONS[noise[21]],
        mbytes=_thousandths(np.minimum(mbytes, LARGEST_VALUE), 1000, noise[22]),
        grade=_GRADE[noise[23]],
        http=noise[24] % 4 > 0,
        server_type=(plan.kind + 1).astype(np.uint8)[server],
        loads=loads,
        server=server,
        client=np.stack([noise[25] % 223 + 1, *noise[26:29]]),
    )


def _in_order(cell: Integers, noise: NDArray[np.uint16], servers: int) -> tuple[Integers, Integers]:
    """Give each session a second of its bucket; answer seconds from the first bucket's start and servers, by time."""
    bucket = cell // servers
    second = bucket * BUCKET_SECONDS + (noise.astype(np.int64) * BUCKET_SECONDS >> 16)
    # One sorted number holds both: sorting plain numbers is far faster than sorting by key.
    packed = np.sort(second * servers + (cell - bucket * servers))
    second = packed // servers
    return second, packed - second * servers


def _split_load(cell_load: Floats, cell: Integers, noise: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Divide each cell's load at random among its sessions."""
    weight = _SESSION_WEIGHT[noise]
    weight_sum = np.bincount(cell, weight, minlength=cell_load.size)
    unit = cell_load.ravel() / np.where(weight_sum > 0, weight_sum, 1.0)
    return (weight * unit[cell]).astype(np.float32)


def _thousandths(value: NDArray[np.float32], steps: int, noise: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Values in whole thousandths, rounded at random to 1/`steps`."""
    rounded = (value * np.float32(steps) + noise * np.float32(1 / 256)).astype(np.int32)
    limited: NDArray[np.int32] = np.minimum(rounded * np.int32(1000 // steps), np.int32(LARGEST_VALUE * 1000))
    return limited
