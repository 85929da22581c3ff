"""A retrained model against the last good one: a loser is not published, and what answers stays as it is."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

import loadcast
import runs
from loadcast import paths
from loadcast.errors import HeldBackError
from loadcast.run_result import RunResult
from loadcast.settings import Settings, parse_settings
from loadcast.storage.publish import open_run

pytestmark = pytest.mark.spark
#: One tree that asks one question.
STUMP = {"forest": {"numTrees": 1, "maxDepth": 1}}


def copied(run: runs.Run, folder: Path) -> Settings:
    """The configuration of a copy of a run's output."""
    output = folder / "output"
    shutil.copytree(run.settings.output, output, symlinks=True)
    return run.settings.model_copy(update={"output": str(output)})


def with_stump(settings: Settings) -> Settings:
    return parse_settings({**settings.document(), **STUMP})


def train(settings: Settings) -> RunResult:
    return loadcast.run_train(settings, runs.OPTIONS, unless_worse=True)


def test_a_model_that_loses_is_not_published_and_one_that_does_not_is(
    hostile: runs.Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = copied(hostile, tmp_path)
    output = Path(settings.output)
    before = runs.file_bytes(output / paths.RUNS)
    links = {link: open_run(output, link) for link in (paths.CURRENT, paths.MODEL)}
    with pytest.raises(HeldBackError) as held, caplog.at_level(logging.INFO, "loadcast"):
        train(with_stump(settings))
    assert "A new model lost against the last good one." in caplog.text
    # The champion scored what it scored when it was trained, on the same rows.
    numbers, scores = held.value.numbers, hostile.metrics["test"]
    assert numbers["contest/accuracy/champion"] == pytest.approx(scores["accuracy"], rel=1e-12)
    assert numbers["contest/logLoss/champion"] == pytest.approx(scores["logLoss"], rel=1e-9)
    assert numbers["contest/accuracy/challenger"] < scores["accuracy"]
    # Nothing has changed for whoever reads the output.
    assert runs.file_bytes(output / paths.RUNS) == before
    assert {link: open_run(output, link) for link in links} == links
    # The same recipe once more is a tie, and ties are published.
    result = train(settings)
    assert result.contest is not None
    assert (result.contest.verdict, result.contest.champion) == ("tie", links[paths.MODEL].name)
    assert result.contest.rows == scores["rows"]
    assert result.contest.accuracy.difference == result.contest.log_loss.difference == 0
    assert open_run(output, paths.MODEL).name == result.run
    assert RunResult.parse(result.encoded(), "the result") == result
