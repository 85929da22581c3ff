"""Which training rows this process takes, and what it says of a table that it cannot read. Without Spark."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.kernels.forest.fit import TrainingRows
from loadcast.spark import rows_here
from loadcast.spark.fitting import TrainingTable
from loadcast.spark.table_partitions import whole_files
from loadcast.storage.table_files import FolderTables

_SPLIT = datetime(2016, 6, 2)
_BYTES_OF_ROW = 16


@pytest.fixture
def table(tmp_path: Path) -> TrainingTable:
    """A table of one feature and two files, each with 6 training rows, 2 that nobody observed, and 40 to be tested."""
    hours = [_SPLIT - timedelta(hours=1)] * 8 + [_SPLIT] * 40
    observed = [True] * 6 + [False] * 2 + [True] * 40
    names: Any = (schema.HOUR, schema.OBSERVED, schema.LABEL, "x")
    columns = pa.table([pa.array(hours, schema.TIMESTAMP), observed, [1] * 48, [0.5] * 48], names=names)
    (tmp_path / paths.FEATURES).mkdir()
    for number in range(2):
        pq.write_table(columns, tmp_path / paths.FEATURES / f"part-{number}.parquet")
    spark: Any = None
    return TrainingTable(spark, "", ("x",), _SPLIT, FolderTables(str(tmp_path)))


def read(table: TrainingTable) -> TrainingRows | None:
    return rows_here.read_rows(table, whole_files(table.files, paths.FEATURES), lambda width: _BYTES_OF_ROW, threads=1)


def test_rows_of_the_test_period_do_not_count(table: TrainingTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of direct features there may be many times as many as training rows."""
    monkeypatch.setattr(rows_here, "MOST_BYTES", 12 * _BYTES_OF_ROW)
    rows = read(table)
    assert rows is not None
    assert (len(rows.labels), rows.partitions, rows.n_features) == (12, [6, 6], 1)
    monkeypatch.setattr(rows_here, "MOST_BYTES", 12 * _BYTES_OF_ROW - 1)
    assert read(table) is None


@pytest.mark.parametrize("content", [b"", b"PAR1 no table at all PAR1"])
def test_a_damaged_file_is_named(table: TrainingTable, tmp_path: Path, content: bytes) -> None:
    (tmp_path / paths.FEATURES / "part-1.parquet").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"mlSource\.parquet/part-1\.parquet cannot be read: .*Run python"):
        read(table)
