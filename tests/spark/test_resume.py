"""Files that an earlier run has scanned are not scanned again; files that changed are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runs
import sessions
from loadcast import paths
from loadcast.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAYS = 6


@pytest.fixture
def settings(spark: SparkSession, tmp_path: Path) -> Settings:
    rows = sessions.hostile_log(3, days=DAYS, rows=900, dirty=0.05)
    sessions.write_split(rows, tmp_path / "data", 3, 5, shuffle=False, plain=True)
    return runs.make_settings(
        tmp_path / "data" / "*" / "*" / "request.csv", tmp_path / "output", DAYS, 1, keepScanned=True
    )


def kept_files(settings: Settings) -> dict[Path, int]:
    folder = Path(str(settings.output)) / paths.SCANNED
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/*.arrows")}


def source_files(settings: Settings) -> list[Path]:
    return sorted((Path(str(settings.output)).parent / "data").rglob("request.csv*"))


def assert_same(actual: runs.Run, wanted: runs.Run) -> None:
    for name in (paths.FEATURES, paths.HOURLY, paths.DAILY, paths.REJECTED):
        assert runs.same_bits(runs.table(actual, name), runs.table(wanted, name)) == []
    assert actual.quality == wanted.quality
    assert actual.info == wanted.info


def elsewhere(settings: Settings, name: str) -> Settings:
    return settings.model_copy(update={"output": f"{settings.output}-{name}", "keep_scanned": False})


def test_a_second_run_reads_what_the_first_has_kept(settings: Settings) -> None:
    first = runs.etl(settings)
    kept = kept_files(settings)
    assert len(kept) == len(source_files(settings)) == 3
    # The same bytes under the same size and time, but for one digit: were they read, the result would change.
    for path in source_files(settings):
        state = path.stat()
        path.write_bytes(path.read_bytes().replace(b"1", b"7"))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert_same(runs.etl(settings), first)
    assert kept_files(settings) == kept


def test_a_changed_file_is_scanned_again_and_the_others_are_not(settings: Settings) -> None:
    runs.etl(settings)
    kept = kept_files(settings)
    changed = source_files(settings)[1]
    changed.write_bytes(changed.read_bytes() + b"\n1,2,3\n")
    again = runs.etl(settings)
    now = kept_files(settings)
    assert len(now) == 3
    assert len(now.items() & kept.items()) == 2
    assert_same(again, runs.etl(elsewhere(settings, "fresh")))


def test_a_damaged_result_is_scanned_again(settings: Settings) -> None:
    first = runs.etl(settings)
    for path in list(kept_files(settings))[:2]:
        path.write_bytes(path.read_bytes()[:-40])
    assert_same(runs.etl(settings), first)


def test_another_period_does_not_take_results_of_this_one(settings: Settings) -> None:
    runs.etl(settings)
    shorter = settings.model_copy(update={"train_end": settings.train_end.replace(hour=11)})
    assert_same(runs.etl(shorter), runs.etl(elsewhere(shorter, "fresh")))


def test_a_run_of_some_servers_keeps_nothing_and_takes_nothing(settings: Settings) -> None:
    some = settings.model_copy(update={"filter_servers": sessions.SERVERS[:2]})
    runs.etl(settings)
    kept = kept_files(settings)
    actual = runs.etl(some, filter_ip=True)
    assert kept_files(settings) == kept
    assert actual.quality["otherServer"] > 0


def test_only_full_runs_keep_results_unless_told_otherwise(tmp_path: Path) -> None:
    plain = {"dataFile": "x", "output": str(tmp_path)}
    parse = runs.parse_settings
    assert parse({**plain, "duration": "FULL"}).keeps_scanned
    assert not parse({**plain, "duration": "FULL", "keepScanned": False}).keeps_scanned
    assert not parse({**plain, "duration": "ONE_MONTH"}).keeps_scanned
    assert parse({**plain, "duration": "ONE_MONTH", "keepScanned": True}).keeps_scanned
