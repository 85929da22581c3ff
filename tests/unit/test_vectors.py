"""Columns of numbers and Spark ML's vectors as a matrix, against each row written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import VECTOR
from loadcast.kernels import vectors as kernel
from loadcast.kernels.vectors import dense_blocks

NUMBER = st.floats(allow_nan=False, width=32)


@st.composite
def vectors(draw: st.DrawFn, size: int) -> dict[str, Any]:
    """A vector of that size, dense or sparse."""
    if draw(st.booleans()):
        values = draw(st.lists(NUMBER, min_size=size, max_size=size))
        return {"type": 1, "size": None, "indices": None, "values": values}
    indices = sorted(draw(st.sets(st.integers(0, size - 1), max_size=size)))
    return {"type": 0, "size": size, "indices": indices, "values": [draw(NUMBER) for _ in indices]}


def written_out(vector: dict[str, Any]) -> list[float]:
    if vector["type"]:
        return list(vector["values"])
    given = dict(zip(vector["indices"], vector["values"], strict=True))
    return [given.get(index, 0.0) for index in range(vector["size"])]


@given(st.data(), st.integers(0, 12), st.integers(1, 4), st.integers(1, 7))
def test_rows_are_numbers_and_vectors_side_by_side(data: st.DataObject, n: int, size: int, block: int) -> None:
    numbers = data.draw(st.lists(NUMBER, min_size=n, max_size=n))
    column = data.draw(st.lists(vectors(size), min_size=n, max_size=n))
    table = pa.table({"a": pa.array(numbers, pa.float64()), "v": pa.array(column, VECTOR), "unused": [None] * n})
    table = pa.concat_tables([table.slice(0, n // 2), table.slice(n // 2)])  # chunks must not show
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_BLOCK_CELLS", block * (size + 1))
        blocks = list(dense_blocks(table, ["v", "a"]))
    assert all(len(matrix) <= block for matrix in blocks)
    wanted = [[*written_out(vector), number] for vector, number in zip(column, numbers, strict=True)]
    assert [row for matrix in blocks for row in matrix.tolist()] == wanted


def test_a_row_wider_than_a_block_is_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_BLOCK_CELLS", 1)
    blocks = list(dense_blocks(pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]}), ["a", "b"]))
    assert [matrix.tolist() for matrix in blocks] == [[[1.0, 3.0]], [[2.0, 4.0]]]


def sparse(size: int, indices: list[int]) -> dict[str, Any]:
    return {"type": 0, "size": size, "indices": indices, "values": [1.0] * len(indices)}


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([sparse(3, [0]), sparse(2, [0])], "wanted 3 in each row"),
        ([sparse(3, [0]), sparse(3, [3])], "index outside"),
        ([sparse(3, [0]), sparse(3, [-1])], "index outside"),
        ([sparse(2, [0]), {"type": 1, "size": None, "indices": None, "values": [1.0]}], "wanted 2 in each row"),
        ([sparse(2, [0]), None], "null"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(column: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(dense_blocks(pa.table({"v": pa.array(column, VECTOR)}), ["v"]))


def test_a_missing_number_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        list(dense_blocks(pa.table({"a": [1.0, None]}), ["a"]))


def test_whole_numbers_are_numbers() -> None:
    (matrix,) = dense_blocks(pa.table({"a": pa.array([1, 2], pa.int32())}), ["a"])
    assert matrix.dtype == np.float64
    assert matrix.tolist() == [[1.0], [2.0]]
