"""`loadcast backtest` up to where Spark starts: what is refused, and how a result is shown and written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import refits
import toymodel
from loadcast.artefacts.backtest import Backtest
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.backtest.summary import summary
from loadcast.models import registry
from loadcast.pipeline import run as pipeline_run
from loadcast.refit import score_refit


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OWN", (*registry._OWN, toymodel.FAMILY))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    refits.publish(folder, refits.fleet())
    return folder


def backtest(output: Path, *arguments: str, **changes: object) -> Result:
    config = output.parent / "config.json"
    config.write_text(json.dumps(refits.make_settings(output, **changes).document()))
    return CliRunner().invoke(main, ["backtest", str(config), *arguments])


def test_a_family_that_only_spark_fits_is_refused_and_others_are_named(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark_alone = replace(toymodel.FAMILY, name="distributed", fit_rows=None)
    monkeypatch.setattr(registry, "_OWN", (*registry._OWN, spark_alone))
    result = backtest(output, model="distributed")
    assert result.exit_code == ConfigError.exit_code
    assert (
        "found 'distributed', which is fitted by Spark alone; wanted one that can be fitted in a task" in result.stderr
    )
    assert "toy" in result.stderr


def test_a_set_that_simulates_no_cutoffs_is_refused(output: Path) -> None:
    result = backtest(output, featureSet="classic")
    assert result.exit_code == ConfigError.exit_code
    assert "featureSet: found 'classic', wanted direct, extended" in result.stderr


def test_without_a_run_it_says_that_etl_comes_first(tmp_path: Path) -> None:
    result = backtest(tmp_path / "none", "--folds", "1", "--step", "2d")
    assert result.exit_code == ArtefactError.exit_code
    assert "Run python Code/etl.py CONFIG first" in result.stderr


def test_folds_that_leave_nothing_to_learn_from_are_refused(output: Path) -> None:
    for arguments in (["--folds", "9", "--step", "2d"], ["--folds", "100", "--step", "366d"]):
        result = backtest(output, *arguments)
        assert "found time for" in result.stderr
        assert result.exit_code == ConfigError.exit_code
        assert "Ask for fewer folds, or a shorter step." in result.stderr


@pytest.mark.parametrize("step", ["7", "1d", "0d", "-3d", "7.5d", "367d", "\u0667d", "d", "1000d"])
def test_a_step_is_a_whole_number_of_days(output: Path, step: str) -> None:
    result = backtest(output, f"--step={step}")
    assert result.exit_code == 2
    assert "wanted 2d to 366d" in result.stderr


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"timezone": "Europe/Oslo"}, "timezone"), ({"trainBegin": "2016-05-01 00:00:00"}, "trainBegin")],
)
def test_statistics_of_other_hours_are_refused(output: Path, changes: dict[str, str], key: str) -> None:
    result = backtest(output, "--folds", "1", "--step", "2d", **changes)
    assert result.exit_code == ConfigError.exit_code
    assert f"{key}: ETL ran with" in result.stderr


def test_a_test_period_after_etl_s_hours_is_refused(output: Path) -> None:
    later = {"testSplitStart": "2016-07-20 00:00:00", "trainEnd": "2016-07-30 00:00:00"}
    assert "ETL's hours end at 2016-06-24 23:59:59" in backtest(output, **later).stderr


def test_a_file_that_cannot_be_written_is_told_before_the_work(output: Path) -> None:
    result = backtest(output, "--json", str(output / "none" / "x.json"))
    assert result.exit_code == OutputError.exit_code
    assert "Name another file with --json" in result.stderr


def test_damaged_statistics_are_one_message(output: Path) -> None:
    next((output / "current" / "hourlyfeature").rglob("part-0.parquet")).write_bytes(b"no table")
    result = backtest(output, "--folds", "1", "--step", "2d")
    assert result.exit_code == ArtefactError.exit_code
    assert "cannot be read" in result.stderr
    assert "Traceback" not in result.output


def test_the_page_and_the_file_say_the_same(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = refits.make_settings()
    refit = refits.newest_refit(settings)
    tally = score_refit(refit, refits.loads(refits.fleet()), toymodel.fit_rows)
    about = {"run": "r", "featureSet": "direct", "model": "toy", "labelRule": "perServer", "originEveryHours": 6}
    period = {"stepDays": 2, "trainBegin": "2016-06-01 00:00:00", "testSplitStart": "2016-06-22 00:00:00"}
    made = Backtest.of({**about, **period, **summary(folds_before(settings.split, 1, 2), [tally])})
    asked = []
    monkeypatch.setattr(pipeline_run, "run_backtest", lambda *arguments: asked.append(arguments) or made)
    target = output.parent / "backtest.json"
    result = backtest(output, "--folds", "1", "--step", "2d", "--json", str(target))
    assert result.exit_code == 0
    assert asked[0][1:3] == (1, 2)
    assert target.read_bytes() == made.encoded()
    assert f"{made.total.accuracy:.3f}" in result.stdout
    assert "of 3 servers lie below their own best naive forecast" in result.stdout
    assert "of 3 servers alone" in result.stdout
    assert [path.name for path in output.parent.iterdir() if path.name.startswith(".")] == []
