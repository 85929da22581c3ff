"""The server kernel as Spark calls it: batches of packed sums in, whatever their sizes; Spark isn't started."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import classic
from grids import sum_rows
from loadcast import paths, schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.labels import LabelRule
from loadcast.storage.table_files import FolderTables

server = pytest.importorskip("loadcast.spark.server_task")
scan = pytest.importorskip("loadcast.spark.scan")

BEGIN = 1_464_739_200 // schema.BUCKET_SECONDS
CALENDAR, LABELS = CalendarRule(datetime(2016, 6, 1), frozenset()), LabelRule.absolute(100.0, 500.0)
SPLIT = 1_464_739_200 + 86_400


def pieces(name: str, number: int, buckets: int, seed: int) -> list[pa.RecordBatch]:
    """Sums of one server, cut from `number` pieces of the input that all reach over the same time."""
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(number):
        offsets = np.flatnonzero(rng.random(buckets) < 0.7)
        values = rng.integers(0, 1000, (len(offsets), len(schema.MEASURES))) / 8
        sums = sum_rows((name,), np.zeros(len(offsets), dtype=np.int64), BEGIN + offsets, values)
        names, payloads = bucket_kernel.pack(sums)
        kinds = pa.array([scan.KIND_BUCKETS] * len(names), pa.int32())
        batches.append(pa.RecordBatch.from_arrays([names, kinds, payloads], schema=scan.SCAN_SCHEMA))
    return batches


def run(batches: list[pa.RecordBatch], folder: Path) -> dict[str, list[Any]]:
    """What the task reports, by kind; its tables lie below `folder`."""
    task = server.ServerTask(classic.CLASSIC, CALENDAR, LABELS, SPLIT, FolderTables(str(folder)))
    reports: dict[str, list[Any]] = {}
    for batch in task(iter(batches)):
        for kind, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            reports.setdefault(kind, []).append(json.loads(text))
    return reports


def table(folder: Path, name: str) -> pa.Table:
    return pa.concat_tables(map(pq.read_table, sorted((folder / name).rglob("*.parquet")))).combine_chunks()


@pytest.mark.parametrize("bound", [1, 10_000, 100_000])
def test_a_server_with_most_rows_in_many_pieces_gives_the_same_in_little_memory(
    bound: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = pieces("10.0.0.2", 200, 800, 2)
    batches = [*pieces("10.0.0.1", 3, 50, 1), *large, *pieces("10.0.0.3", 3, 50, 3)]
    run(batches, tmp_path / "wanted")
    held = []
    cut = server._cut_last_server

    def watched(sums: pa.Table) -> tuple[pa.Table, pa.Table]:
        held.append(sums.nbytes)
        return cut(sums)

    monkeypatch.setattr(server, "_WORK_BYTES", bound)
    monkeypatch.setattr(server, "_cut_last_server", watched)
    reports = run(batches, tmp_path / "found")
    for name in (paths.HOURLY, paths.DAILY, server.UNENCODED):
        assert table(tmp_path / "found", name).num_rows >= 5
        assert table(tmp_path / "found", name).equals(table(tmp_path / "wanted", name))
    assert [name for part in reports["coverage"] for name in part["servers"]] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert sum(part["rows"] for part in reports["training"]) > 24
    whole = 800 * bucket_kernel.RECORD.itemsize
    assert max(held) < 3 * whole + bound + large[0].nbytes < sum(batch.nbytes for batch in large) / 4


def test_the_files_are_told_when_they_are_complete(tmp_path: Path) -> None:
    task = server.ServerTask(classic.CLASSIC, CALENDAR, LABELS, SPLIT, FolderTables(str(tmp_path)))
    *_, last = task(iter(pieces("10.0.0.1", 3, 5000, 1)))
    told = json.loads(last.column("report")[0].as_py())
    assert sorted(told) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.is_file()
    )
    assert {Path(name).parent.as_posix() for name in told} == {
        "hourlyfeature/2016/06", "dailyfeature/2016/06", server.UNENCODED
    }  # fmt: skip
    assert table(tmp_path, paths.HOURLY).num_rows == 417


def test_without_a_split_there_are_no_features(tmp_path: Path) -> None:
    list(
        server.ServerTask(classic.CLASSIC, CALENDAR, LABELS, None, FolderTables(str(tmp_path)))(
            iter(pieces("10.0.0.1", 1, 50, 1))
        )
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [paths.DAILY, paths.HOURLY]


def test_a_partition_without_sums_gives_nothing(tmp_path: Path) -> None:
    assert run([], tmp_path) == {"files": [[]]}
    assert list(tmp_path.iterdir()) == []
