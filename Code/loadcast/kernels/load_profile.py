"""The load of a usual week: means of hourly peaks by hour of the week, added up batch by batch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema

DAYS, HOURS = 7, 24
#: The columns that a batch has to have.
COLUMNS = (schema.HOUR, schema.PEAK_LOAD, schema.OBSERVED)
_HOUR_US = 3_600_000_000
#: 1970-01-01 was a Thursday, and weeks begin on Monday.
_EPOCH_DAY = 3


class LoadProfile:
    """Sums over observed hours; `counts` is (7, 24): from Monday, by hour of the day."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((DAYS, HOURS), dtype=np.int64)
        self._sums: NDArray[np.float64] = np.zeros((DAYS, HOURS))

    def add(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add server-hours with COLUMNS; those that were not observed count for nothing."""
        observed = rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False).astype(bool)
        hours = rows.column(schema.HOUR).cast(schema.TIMESTAMP).cast(pa.int64()).to_numpy()[observed]
        loads = rows.column(schema.PEAK_LOAD).to_numpy(zero_copy_only=False)[observed]
        at = (hours // _HOUR_US + _EPOCH_DAY * HOURS) % (DAYS * HOURS)
        shape, slots = (DAYS, HOURS), DAYS * HOURS
        self.counts += np.bincount(at, minlength=slots).reshape(shape)
        self._sums += np.bincount(at, weights=loads, minlength=slots).reshape(shape)

    @property
    def means(self) -> NDArray[np.float64]:
        """The mean load (7, 24); NaN where there was no observed hour."""
        means = np.full((DAYS, HOURS), np.nan)
        np.divide(self._sums, self.counts, out=means, where=self.counts > 0)
        return means
