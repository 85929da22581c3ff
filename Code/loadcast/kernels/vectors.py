"""Columns of numbers and of Spark ML's vectors, as Parquet holds them → the dense matrix of a model's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_SPARSE = 0  # the type tag of a sparse vector; 1 is a dense one
#: Numbers of a matrix: 16 MB.
_BLOCK_CELLS = 1 << 21


def numbers_in(array: pa.Array | pa.ChunkedArray) -> NDArray[np.generic]:
    """Numbers without nulls, as they lie in memory: pyarrow's own ways would import pandas where that is installed."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return np.from_dlpack(whole)


def dense_blocks(table: pa.Table, columns: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """The rows of a table with `columns` side by side: matrices of at most 16 MB (of one row, where that is larger).

    A column is of numbers, or a struct of Spark ML's vectors, all of one size. Raises ValueError where it is not.
    """
    if not table.num_rows:
        return
    widths = [_width(table.column(name)) for name in columns]
    step = max(1, _BLOCK_CELLS // max(1, sum(widths)))
    for start in range(0, table.num_rows, step):
        rows = table.slice(start, step)
        matrix = np.zeros((rows.num_rows, sum(widths)))
        first = 0
        for name, width in zip(columns, widths, strict=True):
            _fill(matrix[:, first : first + width], rows.column(name).combine_chunks())
            first += width
        yield matrix


def _width(column: pa.ChunkedArray) -> int:
    """How many numbers the first row has, and so each."""
    if not pa.types.is_struct(column.type):
        return 1
    first = column[0].as_py()
    return int(first["size"] if first["type"] == _SPARSE else len(first["values"]))


def _fill(matrix: NDArray[np.float64], column: pa.Array) -> None:
    """Write a column into zeros of its own width."""
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    if column.null_count:
        raise ValueError("a feature is null")
    if not pa.types.is_struct(column.type):
        matrix[:, 0] = column.to_numpy(zero_copy_only=False)
        return
    kinds, sizes, indices, values = (pc.struct_field(column, name) for name in ("type", "size", "indices", "values"))
    sparse = kinds.to_numpy() == _SPARSE
    lengths = pc.list_value_length(values).to_numpy()
    widths = np.where(sparse, sizes.fill_null(0).to_numpy(), lengths)
    if (widths != matrix.shape[1]).any():
        raise ValueError(f"a vector has {widths.min()} to {widths.max()} numbers, wanted {matrix.shape[1]} in each row")
    rows = np.repeat(np.arange(len(column)), lengths)
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    slots[sparse[rows]] = indices.filter(pa.array(sparse)).flatten().to_numpy()
    if slots.size and not 0 <= slots.min() <= slots.max() < matrix.shape[1]:
        raise ValueError("a vector has an index outside its size")
    matrix[rows, slots] = values.flatten().to_numpy()
