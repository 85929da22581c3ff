"""What was, and what had been forecast, hour by hour on a few servers: an hour that was forecast more than once counts
with the forecast made about a day before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadcast import schema

COLUMNS = (schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL, schema.PREDICTION)
#: Of the forecasts of an hour, the earliest of those made at most so long before.
DAY_AHEAD_H = 24
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, eq=False)
class Strip:
    """One server, n hours in a row from `begin_h` (since 1970): classes (n,), 0 where there is none."""

    begin_h: int
    actual: NDArray[np.int8]
    forecast: NDArray[np.int8]


class HourStrips:
    """Collects the rows of some servers."""

    def __init__(self, servers: Iterable[str], most_hours: int) -> None:
        self._wanted = pa.array(list(servers), pa.string())
        self._most_hours = most_hours
        self._kept: list[pa.Table] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows with COLUMNS, and schema.HORIZON where there is one."""
        mine = rows.filter(pc.is_in(rows.column(schema.SERVER), value_set=self._wanted))
        if mine.num_rows:
            self._kept.append(pa.Table.from_batches([mine]))

    def strips(self) -> dict[str, Strip]:
        """The last hours of each server, over the same hours for all of them."""
        if not self._kept:
            return {}
        rows = pa.concat_tables(self._kept)
        hours = rows.column(schema.HOUR).cast(schema.TIMESTAMP).cast(pa.int64()).to_numpy() // _HOUR_US
        begin = max(int(hours.min()), int(hours.max()) + 1 - self._most_hours)
        n = int(hours.max()) + 1 - begin
        found = {}
        for server in self._wanted.to_pylist():
            mine = pc.equal(rows.column(schema.SERVER), server).to_numpy() & (hours >= begin)
            if mine.any():
                found[server] = _strip(rows.filter(pa.array(mine)), begin, hours[mine] - begin, n)
        return found


def _strip(rows: pa.Table, begin: int, at: NDArray[np.int64], n: int) -> Strip:
    # The last that is written to an hour stays.
    order = np.argsort(_preference(rows), kind="stable")
    known = pc.fill_null(rows.column(schema.OBSERVED), False).to_numpy()
    truth = np.where(known, pc.fill_null(rows.column(schema.LABEL), 0).to_numpy(), 0)
    actual, forecast = np.zeros(n, dtype=np.int8), np.zeros(n, dtype=np.int8)
    actual[at[order]] = truth[order]
    forecast[at[order]] = rows.column(schema.PREDICTION).to_numpy()[order]
    return Strip(begin, actual, forecast)


def _preference(rows: pa.Table) -> NDArray[np.int64]:
    """The larger, the rather a row is taken: within a day the longest horizon, then of the others the shortest."""
    if schema.HORIZON not in rows.column_names:
        return np.zeros(rows.num_rows, dtype=np.int64)
    horizon = rows.column(schema.HORIZON).to_numpy().astype(np.int64)
    preference: NDArray[np.int64] = np.where(horizon <= DAY_AHEAD_H, horizon, -horizon)
    return preference
