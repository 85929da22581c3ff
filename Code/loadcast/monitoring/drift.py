"""Features now against those of the training: streamed from feature tables, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadcast import schema
from loadcast.errors import ArtefactError
from loadcast.kernels.drift import bin_counts, bin_edges, stability_index
from loadcast.kernels.features import FeatureSet
from loadcast.kernels.features.feature import Kind
from loadcast.kernels.grid import hours_of
from loadcast.secrets import shown

_ROWS_PER_BATCH = 16_384
#: So many training rows, spread evenly over their batches, say where bins begin.
_SAMPLED_ROWS = 200_000
#: Dates move on whatever the servers do; they are no drift.
_OF_DATES = (Kind.CALENDAR, Kind.TREND)
Hours = NDArray[np.int64]


def drifting_features(features: FeatureSet) -> list[str]:
    """The features of which drift can be told: those that are made of loads."""
    return [feature.name for feature in features.features if feature.kind not in _OF_DATES]


def feature_drift(
    names: Sequence[str], then: tuple[Path, int], now: tuple[Path, tuple[int, int]]
) -> dict[str, float | None]:
    """The PSI of each feature.

    `then` is the table of the training and the first hour after it; `now` the table of the newest run, and the first
    and the last hour that count. Only observed hours do. Raises ArtefactError for tables that cannot be read.
    """
    if not names:
        return {}
    training, until = then
    recent, (first, last) = now

    def trained(hours: Hours) -> NDArray[np.bool_]:
        return hours < until

    def is_new(hours: Hours) -> NDArray[np.bool_]:
        return (hours >= first) & (hours <= last)

    edges = _edges(training, names, trained)
    before, after = _counts(training, names, edges, trained), _counts(recent, names, edges, is_new)
    return {name: stability_index(before[name], after[name]) for name in names}


def _edges(
    table: Path, names: Sequence[str], chosen: Callable[[Hours], NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:
    total = sum(len(rows) for rows in _rows(table, [], chosen))
    step = max(1, -(-total // _SAMPLED_ROWS))
    sampled = [rows.take(pa.array(np.arange(0, len(rows), step))) for rows in _rows(table, names, chosen)]
    return {
        name: bin_edges(np.concatenate([np.zeros(0), *(_numbers(rows, name) for rows in sampled)])) for name in names
    }


def _counts(
    table: Path,
    names: Sequence[str],
    edges: dict[str, NDArray[np.float64]],
    chosen: Callable[[Hours], NDArray[np.bool_]],
) -> dict[str, NDArray[np.int64]]:
    counts = {name: bin_counts(np.zeros(0), edges[name]) for name in names}
    for rows in _rows(table, names, chosen):
        for name in names:
            counts[name] += bin_counts(_numbers(rows, name), edges[name])
    return counts


def _rows(table: Path, names: Sequence[str], chosen: Callable[[Hours], NDArray[np.bool_]]) -> Iterator[pa.Table]:
    """The observed rows whose hours are chosen, in portions."""
    columns = [schema.HOUR, schema.OBSERVED, *names]
    for path in sorted(table.rglob("*.parquet")):
        if path.name.startswith((".", "_")):
            continue
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS_PER_BATCH, columns=columns, use_threads=False):
                    rows = pa.Table.from_batches([batch])
                    observed = rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False).astype(bool)
                    yield rows.filter(pa.array(observed & chosen(hours_of(rows.column(schema.HOUR)))))
        except (pa.ArrowException, OSError, KeyError) as error:
            why = shown(" ".join(str(error).split()), 200)
            raise ArtefactError(f"{shown(path)} cannot be read: {why}. Run ETL again.") from error


def _numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = rows.column(name).to_numpy().astype(np.float64)
    return numbers
