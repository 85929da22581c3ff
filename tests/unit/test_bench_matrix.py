"""The forest's features as a matrix: Spark ML vectors of both kinds, numbers, and which rows are taken."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.matrix import count_features, dense, read_rows
from loadcast import schema

VECTOR = pa.struct(
    [
        pa.field("type", pa.int8(), nullable=False),
        ("size", pa.int32()),
        ("indices", pa.list_(pa.int32())),
        ("values", pa.list_(pa.float64())),
    ]
)


def _sparse(size: int, **values: float) -> dict[str, Any]:
    return {"type": 0, "size": size, "indices": [int(name[1:]) for name in values], "values": list(values.values())}


def _dense(*values: float) -> dict[str, Any]:
    return {"type": 1, "size": None, "indices": None, "values": list(values)}


def test_vectors_sparse_and_dense_fill_their_places() -> None:
    vectors = [_sparse(3, _2=1.0), _sparse(3), _dense(1.0, 2.0, 3.0), _sparse(3, _0=4.0, _1=5.0)]
    assert dense(pa.array(vectors, VECTOR)).tolist() == [[0, 0, 1], [0, 0, 0], [1, 2, 3], [4, 5, 0]]
    assert dense(pa.array(vectors[2:3], VECTOR)).tolist() == [[1, 2, 3]]
    assert dense(pa.array(vectors, VECTOR).slice(1, 2)).tolist() == [[0, 0, 0], [1, 2, 3]]
    assert dense(pa.chunked_array([pa.array(vectors[:1], VECTOR)])).tolist() == [[0, 0, 1]]


def test_numbers_are_one_column() -> None:
    assert dense(pa.array([1.5, 2.5])).tolist() == [[1.5], [2.5]]


def test_training_and_test_rows_are_the_observed_ones_before_and_from_the_split(tmp_path: Path) -> None:
    split = datetime(2016, 6, 29)
    hours = [datetime(2016, 6, 28, 23), split, datetime(2016, 6, 29, 1), datetime(2016, 6, 1)]
    table = pa.table(
        {
            schema.HOUR: pa.array(hours, schema.TIMESTAMP),
            schema.OBSERVED: [True, True, False, True],
            schema.LABEL: pa.array([1, 2, 3, 3], pa.int32()),
            "encoded": pa.array([_sparse(2, _0=1.0), _sparse(2, _1=1.0), _sparse(2), _sparse(2)], VECTOR),
            "scaled": [0.5, 1.5, 2.5, 3.5],
        }
    )
    folder = tmp_path / "features.parquet"
    folder.mkdir()
    pq.write_table(table.slice(0, 2), folder / "part-0.parquet")
    pq.write_table(table.slice(2), folder / "part-1.parquet")
    training, test = read_rows(folder, ["encoded", "scaled"], split)
    assert training.labels.tolist() == [1, 3]
    assert training.features.tolist() == [[1, 0, 0.5], [0, 0, 3.5]]
    assert test.labels.tolist() == [2]
    assert test.features.tolist() == [[0, 1, 1.5]]
    assert training.features.dtype == np.float32
    assert count_features(folder, ["scaled", "encoded"]) == 3
