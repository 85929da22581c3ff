"""How often a forecast is right on each server, and at each hour of the day, added up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.server_codes import server_codes

#: The columns that a batch has to have.
COLUMNS = (schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL, schema.PREDICTION)
_N = len(schema.CLASS_NAMES)
_HOURS = 24
_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class ServerScore:
    """One server: `rows` observed hours, the share of right answers, and the share of its commonest class."""

    server: str
    rows: int
    accuracy: float
    commonest: float


class ServerScores:
    """Counts over observed rows; `by_hour` is (24, 3): how often each class was at each hour of the day."""

    def __init__(self) -> None:
        self.by_hour: NDArray[np.int64] = np.zeros((_HOURS, _N), dtype=np.int64)
        self._codes: dict[str, int] = {}
        self._counts: NDArray[np.int64] = np.zeros((0, _N, _N), dtype=np.int64)

    def add(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add rows with COLUMNS; those that were not observed, or have no label, count for nothing."""
        known = pc.fill_null(pc.and_(rows.column(schema.OBSERVED), pc.is_valid(rows.column(schema.LABEL))), False)
        rows = rows.filter(known)
        if not rows.num_rows:
            return
        truth, said = (_classes(rows, name) for name in (schema.LABEL, schema.PREDICTION))
        hours = rows.column(schema.HOUR).cast(schema.TIMESTAMP).cast(pa.int64()).to_numpy() // _HOUR_US % _HOURS
        self.by_hour += np.bincount(hours * _N + truth, minlength=_HOURS * _N).reshape(_HOURS, _N)
        cells = (self._server_codes(rows) * _N + truth) * _N + said
        self._counts += np.bincount(cells, minlength=self._counts.size).reshape(self._counts.shape)

    def scores(self) -> list[ServerScore]:
        """Of each server with observed rows: the most accurate first, of equals those with more rows, then by name."""
        totals = self._counts.sum(axis=(1, 2))
        hits = np.trace(self._counts, axis1=1, axis2=2)
        commonest = self._counts.sum(axis=2).max(axis=1, initial=0)
        found = [
            ServerScore(
                server, int(totals[code]), float(hits[code] / totals[code]), float(commonest[code] / totals[code])
            )
            for server, code in self._codes.items()
        ]
        return sorted(found, key=lambda score: (-score.accuracy, -score.rows, score.server))

    def _server_codes(self, rows: pa.RecordBatch | pa.Table) -> NDArray[np.int64]:
        column = rows.column(schema.SERVER)
        codes = server_codes(column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column]), self._codes)
        missing = len(self._codes) - len(self._counts)
        if missing > 0:
            # Doubled, so that a fleet of many batches is not copied for each of them.
            room = np.zeros((max(missing, len(self._counts)), _N, _N), dtype=np.int64)
            self._counts = np.concatenate([self._counts, room])
        return codes


def _classes(rows: Any, column: str) -> NDArray[np.int64]:
    """Classes counted from 0."""
    values: NDArray[np.int64] = rows.column(column).to_numpy(zero_copy_only=False).astype(np.int64) - 1
    return values
