"""What the forest sees of mlSource.parquet, as one dense matrix; needs numpy and pyarrow only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from loadcast import schema

Matrix = npt.NDArray[np.float32]
_SPARSE = 0


@dataclass(frozen=True)
class Rows:
    """Feature values (rows × features, float32) and the class of each row."""

    features: Matrix
    labels: npt.NDArray[np.int64]


def read_rows(path: Path, columns: Sequence[str], split: datetime) -> tuple[Rows, Rows]:
    """The observed hours before `split`, and those from it on, with `columns` put together as the forest sees them."""
    observed = pc.field(schema.OBSERVED)
    before = pc.field(schema.HOUR) < pa.scalar(split, schema.TIMESTAMP)
    source, names = ds.dataset(path), [*columns, schema.LABEL]
    training, test = (source.to_table(names, filter=observed & part) for part in (before, ~before))
    return _rows(training, columns), _rows(test, columns)


def count_features(path: Path, columns: Sequence[str]) -> int:
    """How many numbers `columns` are together."""
    return int(_rows(ds.dataset(path).head(1, [*columns, schema.LABEL]), columns).features.shape[1])


def _rows(table: pa.Table, columns: Sequence[str]) -> Rows:
    parts = [dense(table.column(name).combine_chunks()) for name in columns]
    labels = table.column(schema.LABEL).to_numpy().astype(np.int64)
    return Rows(np.concatenate(parts, axis=1), labels)


def dense(column: Any) -> Matrix:
    """A column of numbers, or of Spark ML vectors, as a matrix with one row for each of its rows."""
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_struct(column.type):
        return cast(Matrix, column.to_numpy(zero_copy_only=False).astype(np.float32)[:, np.newaxis])
    kinds, sizes, indices, values = (column.field(name) for name in ("type", "size", "indices", "values"))
    sparse = kinds.to_numpy() == _SPARSE
    lengths = pc.list_value_length(values).to_numpy()
    width = int(pc.max(sizes).as_py()) if sparse.any() else int(lengths.max(initial=0))
    matrix = np.zeros((len(column), width), np.float32)
    rows = np.repeat(np.arange(len(column)), lengths)
    positions = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    positions[sparse[rows]] = indices.filter(pa.array(sparse)).flatten().to_numpy()
    matrix[rows, positions] = values.flatten().to_numpy()
    return matrix
