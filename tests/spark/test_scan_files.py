"""Files through Spark: each task gets its own splits, odd names arrive whole, and a file that changes ends the run."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

import runs
import scanned_files
import sessions
from loadcast import paths
from loadcast.errors import InputError
from loadcast.kernels.scan import RowFilter
from loadcast.pipeline import sessions as pipeline_sessions
from loadcast.spark.scan import KIND_BUCKETS, KIND_COUNTS, KIND_REJECTED, scan_sessions
from loadcast.storage.files import find_files, group_splits, plan_splits

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

EVERYTHING = RowFilter(-(1 << 40), 1 << 40)
DAYS = 3
LOG = b"".join(sessions.hostile_log(1, servers=2, days=DAYS, rows=300, dirty=0.05))


def collect(spark: SparkSession, tasks: list[Any]) -> list[Any]:
    scanned = scan_sessions(spark, tasks, None, EVERYTHING)
    return scanned.withColumn("partition", F.spark_partition_id()).collect()


def counts_of(rows: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    return [(row.partition, json.loads(bytes(row.payload))) for row in rows if row.kind == KIND_COUNTS]


@pytest.mark.parametrize("number", [1, 2, 7, 40])
def test_each_task_is_a_partition_and_reads_its_own_splits(spark: SparkSession, tmp_path: Path, number: int) -> None:
    for name in range(number):
        scanned_files.write(tmp_path / f"{name}.csv", b"a\n" * (name + 1))
    tasks = [plan_splits([file], 3) for file in find_files(f"{tmp_path}/*.csv")]
    scanned = defaultdict(list)
    for partition, counts in counts_of(collect(spark, tasks)):
        scanned[partition].append((counts["file"], counts["start"], counts["rows"]))
    wanted = [[(split.file.path, split.start) for split in task] for task in tasks]
    assert [[piece[:2] for piece in scanned[partition]] for partition in range(number)] == wanted
    assert sum(rows for task in scanned.values() for _, _, rows in task) == number * (number + 1) / 2


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_give_the_sums_of_plain_ones(spark: SparkSession, tmp_path: Path, suffix: str) -> None:
    sums = []
    for name in ("plain.csv", f"packed.csv{suffix}"):
        file = scanned_files.write(tmp_path / name, LOG)
        rows = collect(spark, [plan_splits([file], 1 << 30)])
        sums.append({row.partition_key: bytes(row.payload) for row in rows if row.kind == KIND_BUCKETS})
    assert sums[0]
    assert sums[0] == sums[1]


def test_a_name_of_hostile_bytes_arrives_whole(spark: SparkSession, tmp_path: Path) -> None:
    name = 'a,"b"\'\n\udcff é.csv'
    scanned_files.write(tmp_path / name, b"bad\n" + LOG)
    rows = collect(spark, group_splits(plan_splits(find_files(f"{tmp_path}/*"), 1 << 30), 1 << 30))
    shown = str(tmp_path / name).replace("\udcff", "\\xff")
    assert {counts["file"] for _, counts in counts_of(rows)} == {shown}
    rejected = [pa.ipc.open_stream(row.payload).read_all() for row in rows if row.kind == KIND_REJECTED]
    assert {name for table in rejected for name in table["file"].to_pylist()} == {shown}


def grow(path: str) -> None:
    with open(path, "ab") as file:
        file.write(LOG[:100])


@pytest.mark.parametrize(("change", "now"), [(grow, r"is [\d,]+ bytes of"), (os.unlink, "is gone")])
def test_a_file_that_changes_after_the_run_began_ends_it_and_nothing_is_published(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], None], now: str
) -> None:
    for name in ("a.csv", "b.csv"):
        scanned_files.write(tmp_path / name, LOG)
    settings = runs.make_settings(tmp_path / "*.csv", tmp_path / "output", DAYS, 1)

    def change_first(*rest: Any) -> Any:
        change(str(tmp_path / "b.csv"))
        return scan_sessions(*rest)

    monkeypatch.setattr(pipeline_sessions, "scan_sessions", change_first)
    with pytest.raises(
        InputError, match=rf"/b\.csv changed while it was being read \(was [\d,]+ bytes .*, {now}"
    ) as caught:
        runs.etl(settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "output" / paths.CURRENT).exists()


def test_hundreds_of_small_files_are_read_in_few_tasks(spark: SparkSession, tmp_path: Path) -> None:
    lines = LOG.splitlines(keepends=True)
    for number in range(300):
        scanned_files.write(tmp_path / f"{number}.csv", *lines[number::300])
    tasks = pipeline_sessions.plan_tasks(find_files(f"{tmp_path}/*.csv"), 2)
    assert 4 <= len(tasks) <= 6
    rows = [counts["rows"] for _, counts in counts_of(collect(spark, tasks))]
    whole = scanned_files.write(tmp_path / "whole", *lines)
    ((_, counts),) = counts_of(collect(spark, [plan_splits([whole], 1 << 30)]))
    assert (len(rows), sum(rows)) == (300, counts["rows"])
