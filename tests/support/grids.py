"""Sessions made for the server kernel, and what kernel and oracle make of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

import classic
import oracle
from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.buckets import Buckets, Float64s, Int64s
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.grid import Grid, build_grid
from loadcast.kernels.labels import LabelRule
from oracle import stages
from oracle.rows import Session

BEGIN = datetime(2016, 6, 1)
HOLIDAYS = frozenset({date(2016, 7, 4), date(2016, 6, 7)})
RULE = CalendarRule(BEGIN, HOLIDAYS)
LOW, HIGH = 100.0, 500.0
LABELS = LabelRule.absolute(LOW, HIGH)
EPOCH = datetime(1970, 1, 1)
HOUR = timedelta(hours=1)


def session(server: str, hours: float, load: float | None = 1.0, scale: float = 1.0) -> Session:
    """A session `hours` after BEGIN; the other numbers follow from the load."""
    others = tuple(None if load is None else round(load * scale * place, 3) for place in range(1, len(schema.MEASURES)))
    return Session(server, BEGIN + timedelta(seconds=round(hours * 3600)), (load, *others))


def random_sessions(seed: int, servers: int = 4, days: int = 45, number: int = 400) -> list[Session]:
    """Sessions of servers that start late, stop early, fall silent for days, and now and then tie."""
    rng = random.Random(seed)
    found = []
    for name in range(servers):
        start, stop = sorted(rng.sample(range(days * 24), 2))
        quiet = rng.randrange(start, stop + 1)
        for _ in range(number // servers):
            hour = rng.uniform(start, stop + 1)
            if not quiet < hour < quiet + 24 * (name % 3):
                load = rng.choice((0.0, 0.1, 0.2, 100.0, 500.0, None, round(rng.uniform(0, 700), rng.randrange(4))))
                found.append(session(f"10.0.0.{name + 1}", hour, load, rng.choice((0.5, 1.0, 2.0))))
    rng.shuffle(found)
    return found


def sum_rows(servers: tuple[str, ...], codes: Int64s, buckets: Int64s, values: Float64s) -> Buckets:
    """Sum rows (`values` is (rows, 8), missing as 0) per server and bucket."""
    return bucket_kernel.merge(servers, codes, buckets, np.ones(len(codes), dtype=np.int64), values)


def buckets_of(sessions: Sequence[Session]) -> Buckets:
    """Their sums, as they come out of the shuffle."""
    names = tuple(dict.fromkeys(one.server for one in sessions))
    codes = np.array([names.index(one.server) for one in sessions], dtype=np.int64)
    starts = np.array([epoch_seconds(one.start) // schema.BUCKET_SECONDS for one in sessions], dtype=np.int64)
    values = np.array([[value or 0.0 for value in one.numbers] for one in sessions]).reshape(-1, len(schema.MEASURES))
    return bucket_kernel.unpack(*bucket_kernel.pack(sum_rows(names, codes, starts, values)))


def grid_of(sessions: Sequence[Session]) -> Grid:
    """Their grid."""
    return build_grid(buckets_of(sessions))


def features_of(sessions: Sequence[Session]) -> pa.Table:
    """Their features."""
    return classic.features_table(grid_of(sessions), RULE, LABELS)


def oracle_frames(sessions: Iterable[Session]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Hourly, daily and features as the oracle has them."""
    hourly, observed = stages.make_hourly(stages.make_buckets(sessions))
    daily = stages.make_daily(hourly)
    frame = oracle._hourly_frame(hourly, observed)
    table = stages.make_features(hourly, daily, set(HOLIDAYS), BEGIN)
    return frame, oracle._daily_frame(daily), oracle._features_frame(frame, table, LOW, HIGH)


def hour_number(time: datetime) -> int:
    """Hours since 1970."""
    return (time - EPOCH) // HOUR


def by_place(table: pa.Table, time: str = schema.HOUR) -> pa.Table:
    """Sorted by server and time."""
    return table.sort_by([(schema.SERVER, "ascending"), (time, "ascending")]).combine_chunks()
