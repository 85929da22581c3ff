"""The order of rows, and which file holds them, do not show in any output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runs
from loadcast import paths, schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

FEW, MANY = {17: 1, 16: 1}, {17: 7, 16: 4}


@pytest.fixture(scope="module")
def one_file(
    spark: SparkSession, hostile: runs.Run, hostile_logs: runs.Logs, tmp_path_factory: pytest.TempPathFactory
) -> runs.Run:
    """The same rows in disorder, in one file of each layout."""
    folder = tmp_path_factory.mktemp("one_file")
    pattern = hostile_logs.write(folder / "data", FEW, seed=11, shuffle=True, form="plain")
    return runs.train(runs.etl(moved(hostile, pattern, folder / "output")))


@pytest.fixture(scope="module")
def many_files(
    spark: SparkSession, hostile: runs.Run, hostile_logs: runs.Logs, tmp_path_factory: pytest.TempPathFactory
) -> runs.Run:
    """The same rows in another disorder, in eleven compressed files."""
    folder = tmp_path_factory.mktemp("many_files")
    pattern = hostile_logs.write(folder / "data", MANY, seed=12, shuffle=True, form="gz")
    return runs.etl(moved(hostile, pattern, folder / "output"))


def moved(run: runs.Run, data: str, output: Path) -> Any:
    return run.settings.model_copy(update={"data_file": data, "output": str(output)})


@pytest.fixture(params=["one_file", "many_files"])
def other(request: pytest.FixtureRequest) -> runs.Run:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", [paths.HOURLY, paths.DAILY, paths.FEATURES])
def test_tables_are_the_same_to_the_last_bit(hostile: runs.Run, other: runs.Run, name: str) -> None:
    wanted = runs.table(hostile, name)
    assert wanted.num_rows > 200
    assert runs.same_bits(runs.table(other, name), wanted) == []


def test_forest_and_predictions_are_the_same_to_the_last_bit(hostile: runs.Run, one_file: runs.Run) -> None:
    wanted = runs.table(hostile, paths.PREDICTIONS)
    assert runs.same_bits(runs.table(one_file, paths.PREDICTIONS), wanted) == []
    assert one_file.metrics == hostile.metrics


def test_the_same_lines_are_rejected_for_the_same_reasons(hostile: runs.Run, other: runs.Run) -> None:
    actual, wanted = (runs.frame(run, paths.REJECTED) for run in (other, hostile))
    names = [schema.REJECTED_REASON, schema.REJECTED_LINE]
    assert sorted(map(tuple, actual[names].to_numpy())) == sorted(map(tuple, wanted[names].to_numpy()))


def test_the_counts_are_the_same(hostile: runs.Run, other: runs.Run) -> None:
    assert without_files(other.quality) == without_files(hostile.quality)


def without_files(quality: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in quality.items() if name not in ("files", "bytes", "filesThatStandOut")}


def test_the_columns_of_the_forest_are_the_same(hostile: runs.Run, other: runs.Run) -> None:
    differing = {"dataFile", "files", "versions", "forest", "model", "selfCheck"}
    found, wanted = ({k: v for k, v in run.info.items() if k not in differing} for run in (other, hostile))
    assert json.dumps(found) == json.dumps(wanted)
