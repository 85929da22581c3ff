"""A run as an object: what is asked for, what comes of it, and commands that print it and open nothing again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import runs
import sessions
from loadcast import paths
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError
from loadcast.pipeline.run import run, run_etl, run_stats, run_train
from loadcast.progress import silent
from loadcast.run_request import RunRequest
from loadcast.run_result import RunResult
from loadcast.settings import parse_settings
from loadcast.storage.output import open_output

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAYS, TEST_DAYS = 4, 1


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A configuration for two servers' four days, and where its results go."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "request.csv").write_bytes(b"".join(sessions.hostile_log(1, servers=2, days=DAYS, rows=400, dirty=0)))
    return {
        "dataFile": str(folder / "request.csv"),
        "output": str(folder / "output"),
        "duration": "CUSTOM",
        "trainBegin": runs.text(sessions.BEGIN),
        "trainEnd": runs.text(sessions.last_second(DAYS)),
        "testSplitStart": runs.text(sessions.BEGIN + timedelta(days=DAYS - TEST_DAYS)),
        "forest": {"numTrees": 3, "maxDepth": 3},
    }


def test_a_published_run_ends_well_though_its_output_cannot_be_opened_again(
    spark: SparkSession, plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0

    def once(path: object, what: str) -> None:
        nonlocal opened
        opened += 1
        if opened > 1:
            raise ConfigError("output: it cannot be opened any more.")

    monkeypatch.setattr("loadcast.storage.output.check_writable_name", once)
    config = tmp_path / "config.json"
    output = tmp_path / "output"
    config.write_text(json.dumps({**plain, "output": str(output)}))
    for command, next_step in (("etl", "loadcast train"), ("train", f"--model {output}")):
        opened = 0
        result = CliRunner().invoke(main, [command, str(config), "--master", "local[2]"])
        assert (result.exit_code, opened) == (0, 1), result.output
        assert f"Results are in {output}\n" in result.output
        assert next_step in result.output.splitlines()[-1]
        assert (output / paths.CURRENT).is_dir()


def test_results_tell_the_run_its_steps_and_its_reports(spark: SparkSession, plain: dict[str, Any]) -> None:
    settings, titles = parse_settings(plain), []

    def progress(title: str) -> Any:
        titles.append(title)
        return silent(title)

    before = datetime.now(UTC)
    etl = run_etl(settings, True, runs.OPTIONS, progress)
    assert etl.request == RunRequest(settings=settings, step="etl", filter_ip=True, spark=runs.OPTIONS).digest
    assert [step.title for step in etl.steps] == titles
    assert [step.name for step in etl.steps] == ["starting", "scanning", "encoding"]
    assert 0 <= sum(step.duration_s for step in etl.steps) <= etl.duration_s
    assert before <= etl.begun <= datetime.now(UTC)
    assert (etl.quality and etl.quality.filter_ip, etl.metrics) == (True, None)
    train, stats = run_train(settings, runs.OPTIONS), run_stats(settings, runs.OPTIONS)
    assert (train.metrics is not None, train.quality) == (True, None)
    assert [found.name for found in open_output(settings).runs()] == [train.run, stats.run]  # ETL's has made room
    for result in (etl, train, stats):
        assert result.address == f"{settings.output}/{paths.run_path(result.run)}"
        assert RunResult.parse(result.encoded(), "the result") == result
    published = json.loads(Path(train.address, paths.METRICS).read_text())
    assert published == json.loads(train.encoded())["metrics"]


def test_a_run_that_fails_has_no_result_and_its_step_is_timed(
    spark: SparkSession, plain: dict[str, Any], tmp_path: Path
) -> None:
    request = RunRequest(settings=parse_settings({**plain, "output": str(tmp_path / "none")}), step="train")
    with pytest.raises(ArtefactError, match="holds no published run"):
        run(request)
