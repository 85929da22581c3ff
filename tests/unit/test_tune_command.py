"""`loadcast tune` up to where Spark starts: what is refused, and how a result is shown and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import refits
import tunings
from loadcast.artefacts.tuning import Tuning
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.pipeline import run as pipeline_run
from loadcast.settings import load_settings
from loadcast.tuning.plan import TuningPlan
from loadcast.tuning.result import Found
from loadcast.tuning.space import SearchSpace

SECRETS = {"storageAccount": "a", "storageContainer": "c", "storageKey": "env:THE_KEY"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    refits.publish(tmp_path / "output", refits.fleet())
    return tmp_path


def tune(folder: Path, *arguments: str, **changes: object) -> Result:
    config = folder / "config.json"
    document = refits.make_settings(folder / "output", **{"model": "boosted", **changes}).document()
    config.write_text(json.dumps(document))
    return CliRunner().invoke(main, ["tune", str(config), *arguments])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What a run was asked for; it finds the first trial to be better."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(pipeline_run, "run_tuning", lambda *arguments: asked.append(arguments) or made(arguments[0]))
    return asked


def made(settings: Any, saved: float = 0.02) -> Tuning:
    about = {"run": "r", "featureSet": "direct", "model": "boosted", "labelRule": "absolute", "originEveryHours": 6}
    period = {"stepDays": 2, "trainBegin": "2016-06-01 00:00:00", "testSplitStart": "2016-06-22 00:00:00"}
    space, tallies = SearchSpace.of(settings), {}
    trials = space.trials(7)
    for fold in (1, 2, 3):
        base = tallies[0, fold] = tunings.tally((0, fold), 3)
        tallies |= {(1, fold): base, (2, fold): base}
        tallies[3, fold] = TrialTally(
            base.rows, base.hits, base.losses - saved * base.rows, base.confusion, base.calibration, 7
        )
    tallies[4, 1] = tunings.tally((4, 1), 3)
    return Tuning.of(
        {**about, **period, **Found(space, trials, tunings.PLAN, tunings.schedule(trials), tallies).document(9)}
    )


def test_the_page_the_file_and_the_configuration_say_the_same(folder: Path, asked: list[tuple[Any, ...]]) -> None:
    result = tune(folder, "--json", "t.json", "--write", "new.json", "--budget", "2h", "--step", "2d", "--trials", "9")
    assert result.exit_code == 0
    assert asked[0][1:4] == (TuningPlan(3, 2, 9, 7_200), None, "tune.jsonl")
    found = Tuning.parse((folder / "t.json").read_bytes(), "t.json")
    assert found.encoded() == made(load_settings("config.json")).encoded()
    assert found.chosen is not None
    after = load_settings("new.json")
    assert after.boosted.model_dump(by_alias=True).items() >= found.chosen.changes["boosted"].items()
    assert f'"boosted": {json.dumps(found.chosen.changes["boosted"])}' in result.stdout
    assert "Trial 3 is better than the configuration" in result.stdout
    assert "Tried 5 of 7 settings: 4 on all folds, 0 given up after the newest, 1 not to their end" in result.stdout
    assert "There are no 9 different ones" in result.stdout
    assert "the same command goes on" in result.stdout
    assert "of 3 servers alone" in result.stdout
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_tie_writes_no_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_run, "run_tuning", lambda settings, *_: made(settings, 0.0))
    result = tune(folder, "--write", "new.json")
    assert result.exit_code == 0
    assert "Nothing clearly better was found: the configuration stays as it is." in result.stdout
    assert "Nothing is written to new.json" in result.stderr
    assert not (folder / "new.json").exists()


@pytest.mark.parametrize("same", ["config.json", "./output/../config.json", "link.json"])
def test_the_configuration_itself_is_not_written(folder: Path, asked: list[tuple[Any, ...]], same: str) -> None:
    (folder / "link.json").symlink_to("config.json")
    result = tune(folder, "--write", same)
    assert result.exit_code == ConfigError.exit_code
    assert "which is CONFIG itself; wanted the name of another file" in result.stderr
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--json", "config.json"], "--json: found config.json, which is CONFIG itself"),
        (["--json", "./tune.jsonl"], "--json: found ./tune.jsonl, which is --journal itself"),
        (["--json", "a.json", "--write", "a.json"], "--write: found a.json, which is --json itself"),
        (["--space", "a.json", "--journal", "a.json"], "--journal: found a.json, which is --space itself"),
    ],
)
def test_no_file_is_written_over_another(
    folder: Path, asked: list[tuple[Any, ...]], arguments: list[str], said: str
) -> None:
    result = tune(folder, *arguments)
    assert result.exit_code == ConfigError.exit_code
    assert said in result.stderr
    assert not asked


@pytest.mark.parametrize("option", ["--json", "--write"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    folder: Path, asked: list[tuple[Any, ...]], option: str
) -> None:
    result = tune(folder, option, "none/x.json")
    assert result.exit_code == OutputError.exit_code
    assert f"Name another file with {option}" in result.stderr
    assert asked == []


@pytest.mark.parametrize("budget", ["10", "0m", "m", "-5m", "1.5h", "721h", "10d", "\u0667m", "99999999999s"])
def test_a_budget_is_a_time(folder: Path, budget: str) -> None:
    result = tune(folder, f"--budget={budget}")
    assert result.exit_code == 2
    assert "wanted a time such as 90s, 10m or 2h" in result.stderr


def test_a_hostile_space_is_one_message(folder: Path) -> None:
    (folder / "space.json").write_text('{"numRounds": [0], "seed": [1]}')
    result = tune(folder, "--space", "space.json")
    assert result.exit_code == ConfigError.exit_code
    assert result.stderr.startswith("loadcast: ")
    assert "boosted.numRounds: found 0, wanted" in result.stderr
    assert "Traceback" not in result.output


def test_a_space_is_handed_on(folder: Path, asked: list[tuple[Any, ...]]) -> None:
    space = {"maxDepth": [3, 5], "learningRate": {"low": 0.02, "high": 0.2, "log": True}}
    (folder / "space.json").write_text(json.dumps(space))
    assert tune(folder, "--space", "space.json").exit_code == 0
    assert asked[0][2] == space


def test_what_cannot_be_backtested_cannot_be_tuned(folder: Path) -> None:
    result = tune(folder, featureSet="classic")
    assert result.exit_code == ConfigError.exit_code
    assert "featureSet: found 'classic', wanted direct, extended" in result.stderr
    assert "found time for" in tune(folder, "--folds", "9", "--step", "2d").stderr


def test_a_journal_of_something_else_is_refused_before_spark_starts(folder: Path) -> None:
    (folder / "tune.jsonl").write_text('{"name": "notes"}\n')
    result = tune(folder, "--step", "2d")
    assert result.exit_code == ArtefactError.exit_code
    assert "line 1: it does not begin as a journal does" in result.stderr
    assert (folder / "tune.jsonl").read_text() == '{"name": "notes"}\n'


def test_without_a_run_no_journal_is_made(folder: Path) -> None:
    (folder / "output").rename(folder / "elsewhere")
    result = tune(folder, "--step", "2d")
    assert result.exit_code == ArtefactError.exit_code
    assert "Run python Code/etl.py CONFIG first" in result.stderr
    assert not (folder / "tune.jsonl").exists()


def test_a_journal_is_of_the_settings_that_nobody_wrote_down_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first trial is fitted by defaults, which change: a journal from before has other numbers."""
    from loadcast.pipeline import tune as pipeline_tune
    from loadcast.pipeline.refitting import KnownHours

    monkeypatch.setattr(pipeline_tune, "_digest", json.dumps)
    settings = refits.make_settings(model="boosted")
    known = KnownHours(refits.loads(refits.fleet()), "run", "output")
    content = json.loads(pipeline_tune._header(SearchSpace.of(settings), TuningPlan(), known).configuration)
    assert content["boosted"] == settings.boosted.model_dump(by_alias=True)
    assert content["originEveryHours"] == settings.origin_every_hours


def test_a_journal_names_no_place_and_no_secret() -> None:
    from loadcast.kernels.tuning.plan import BASE
    from loadcast.pipeline.refitting import KnownHours
    from loadcast.pipeline.tune import _header

    secret = refits.make_settings(model="boosted", dataFile="https://a.blob.core.windows.net/c/x?sig=abc", **SECRETS)
    other = refits.make_settings(model="boosted", dataFile="other.csv", costs=[[0, 1, 2], [3, 0, 1], [9, 4, 0]])
    known = KnownHours(refits.loads(refits.fleet()), "run", "output")
    header, same = (_header(SearchSpace.of(settings), TuningPlan(), known) for settings in (secret, other))
    assert header == same  # places and costs change no trial
    changed = refits.make_settings(model="boosted", boosted={"numRounds": 61})
    assert _header(SearchSpace.of(changed), TuningPlan(), known).configuration != header.configuration
    fewer = KnownHours(known.loads.before(refits.hour_of(refits.SPLIT) - 1), "run", "output")
    assert _header(SearchSpace.of(other), TuningPlan(), fewer).statistics != header.statistics
    text = json.dumps({**header.document(), **tunings.tally((BASE, 1)).as_json()})
    assert not any(word in text for word in ("THE_KEY", "sig", "blob", "10.0.0"))
