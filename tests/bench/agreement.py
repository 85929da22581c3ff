"""Whether two engines found the same: sums per server and 5 minutes, compared key by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadcast import schema

LARGEST_RELATIVE_ERROR = 1e-9


@dataclass(frozen=True)
class Agreement:
    """How another result differs from ours.

    Numbers of keys (server and bucket): in ours alone, in the other alone, and of those in both with another count, or
    with a sum that is off by more than LARGEST_RELATIVE_ERROR. `sessions` is the other's total ÷ ours.
    """

    keys: int
    missing: int
    unexpected: int
    wrong_counts: int
    wrong_sums: int
    worst_relative_error: float
    sessions: float

    @property
    def agrees(self) -> bool:
        """Whether every key has the same count and the same sums."""
        return not (self.missing or self.unexpected or self.wrong_counts or self.wrong_sums)

    def __str__(self) -> str:
        if self.agrees:
            return f"agrees in {self.keys:,} keys, sums to {self.worst_relative_error:.0e}"
        return (
            f"differs: of {self.keys:,} keys {self.missing:,} missing, {self.unexpected:,} unexpected, "
            f"{self.wrong_counts:,} with another count, {self.wrong_sums:,} with another sum "
            f"(relative error up to {self.worst_relative_error:.1e}); {self.sessions:.4%} of the sessions"
        )


def compare(ours: pa.Table, other: pa.Table) -> Agreement:
    """Compare two tables of ServerIP, BucketStart, NumSession and the sums; rows may come in any order.

    Raises ValueError where a table has a key twice, or a null in a key or count. A null sum counts as wrong, as NaN.
    """
    names = {name for table in (ours, other) for name in table.column(schema.SERVER).unique().to_pylist()}
    servers = pa.array(sorted(names - {None}), pa.string())
    a, b = _Sorted.of(ours, servers), _Sorted.of(other, servers)
    _, at_a, at_b = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    errors = _relative_errors(a.sums[at_a], b.sums[at_b])
    return Agreement(
        keys=len(a.keys),
        missing=len(a.keys) - len(at_a),
        unexpected=len(b.keys) - len(at_b),
        wrong_counts=int(np.count_nonzero(a.counts[at_a] != b.counts[at_b])),
        wrong_sums=int(np.count_nonzero((errors > LARGEST_RELATIVE_ERROR).any(axis=1))),
        worst_relative_error=float(errors.max(initial=0.0)),
        sessions=float(b.counts.sum() / max(1, a.counts.sum())),
    )


@dataclass(frozen=True)
class _Sorted:
    """A result in the order of its keys, each a number made of server and bucket."""

    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]

    @staticmethod
    def of(table: pa.Table, servers: pa.Array) -> _Sorted:
        codes = _numbers(pa.compute.index_in(table.column(schema.SERVER).cast(pa.string()), servers), schema.SERVER)
        times = table.column(schema.BUCKET_START).cast(schema.TIMESTAMP).cast(pa.int64())
        buckets = _numbers(times, schema.BUCKET_START) // (schema.BUCKET_SECONDS * 10**6)
        keys = codes * 2**40 + buckets
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        if (keys[1:] == keys[:-1]).any():
            raise ValueError("a result has the same server and bucket twice")
        counts = _numbers(table.column(schema.NUM_SESSION), schema.NUM_SESSION)
        sums = [table.column(name).cast(pa.float64()).to_numpy() for name in schema.BUCKET_SUMS]
        return _Sorted(keys, counts[order], np.stack(sums, axis=1)[order])


def _numbers(column: Any, name: str) -> npt.NDArray[np.int64]:
    if column.null_count:
        raise ValueError(f"a result has {column.null_count} nulls in {name}")
    return np.asarray(column.cast(pa.int64()).to_numpy())


def _relative_errors(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """|a − b| ÷ the larger of |a| and |b|; 0 where both are 0, infinite where either is no finite number."""
    scale = np.maximum(np.abs(a), np.abs(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.where(scale == 0, 0.0, np.abs(a - b) / scale)
    return np.where(np.isfinite(errors), errors, np.inf)
