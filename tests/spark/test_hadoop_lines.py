"""Files that only Spark's file systems know, fed to the scan kernel as lines: as from local files, but for offsets.

The file system is Hadoop's for local files; tests/integration reads from a real HDFS.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runs
from loadcast import paths, schema
from loadcast.errors import InputError
from loadcast.pipeline import etl as etl_pipeline
from loadcast.spark.hadoop import BATCH, find_hadoop_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


@pytest.fixture(autouse=True)
def settings_end_with_the_test(spark: SparkSession) -> Iterator[None]:
    """Other tests share the session: the number of a table's parts decides what forest grows on it."""
    names = ("spark.sql.files.maxPartitionBytes", *BATCH)
    before = {name: spark.conf.get(name) for name in names}
    yield
    for name, value in before.items():
        spark.conf.set(name, str(value))


def without_offsets(run: runs.Run) -> list[tuple[str, ...]]:
    """A run's rejected rows: which lines, of which files by name, for what reason."""
    rows = runs.table(run, paths.REJECTED).to_pylist()
    columns = (schema.REJECTED_FILE, schema.REJECTED_REASON, schema.REJECTED_LINE)
    return sorted((Path(row[columns[0]]).name, *(row[name] for name in columns[1:])) for row in rows)


@pytest.mark.parametrize("form", ["plain", "gz"])
def test_lines_from_spark_give_what_byte_ranges_give(
    spark: SparkSession, hostile_logs: runs.Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    pattern = hostile_logs.write(tmp_path / "data", {17: 3, 16: 2}, seed=3, shuffle=False, form=form)
    wanted = runs.etl(runs.make_settings(pattern, tmp_path / "ranges", 50, 7))
    monkeypatch.setattr(etl_pipeline, "find_sources", lambda *_: None)
    spark.conf.set("spark.sql.files.maxPartitionBytes", "100000")
    actual = runs.etl(runs.make_settings(f"file://{pattern}", tmp_path / "lines", 50, 7))
    for name in (paths.FEATURES, paths.HOURLY, paths.DAILY):
        assert runs.table(actual, name).equals(runs.table(wanted, name)), name
    assert without_offsets(actual) == without_offsets(wanted)
    for name in ("rows", "good", "blank", "rejectedByReason", "repairedByColumn"):
        assert actual.quality[name] == wanted.quality[name], name


def test_odd_names_and_marks_arrive_whole(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a b.csv", "50%25.csv", "[x].csv", "é,{1}.csv", "z*.csv"]
    for name in names:
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + name.encode() + b"\r\nx,y\n\n")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(b"1\n2\n3"))
    monkeypatch.setattr(etl_pipeline, "find_sources", lambda *_: None)
    settings = runs.make_settings(f"file://{tmp_path}/*.csv*", tmp_path / "out", 50, 7, maxRejectedFraction=1.0)
    with pytest.raises(InputError, match="No row was kept of 13"):
        runs.etl(settings)
    actual = find_hadoop_files(spark, settings.data_file)
    assert sorted(Path(file.path).name for file in actual) == sorted([*names, "packed.csv.gz"])


@pytest.mark.parametrize("address", ["file:///nowhere/*.csv", "nosuchsystem://host/a.csv", "hdfs://127.0.0.1:9/a.csv"])
def test_what_cannot_be_found_is_told_in_one_line(spark: SparkSession, address: str) -> None:
    with pytest.raises(InputError, match="dataFile") as caught:
        find_hadoop_files(spark, address)
    assert "\n" not in str(caught.value)
