"""Which model a new one is compared with, when it cannot be, and what becomes of one that loses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import bundles
import classic
from artefact_files import made_up_info
from loadcast import paths, schema
from loadcast.artefacts.info import Info
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, ConfigError, HeldBackError, InputError, LoadcastError
from loadcast.kernels.backtest.contest import ContestTally
from loadcast.kernels.calendar import epoch_seconds
from loadcast.pipeline import promotion
from loadcast.pipeline import run as pipeline_run
from loadcast.pipeline.promotion import last_good, promoted
from loadcast.run_logger import VARIABLE, read_logged, series
from loadcast.run_request import RunRequest
from loadcast.serving.bundle import load_bundle
from loadcast.settings import parse_settings
from loadcast.spark.contest import Champion
from loadcast.storage.blob.output import ContainerOutput
from loadcast.storage.output import FolderOutput, Output
from loadcast.storage.publish import open_run
from memory_container import MemoryContainer

PLAIN = {"dataFile": "logs", "duration": "ONE_MONTH", "output": "out"}
ONCE = ("20160630T000000000000Z-abcdef",)


def info(**changes: Any) -> Info:
    return Info.parse(json.dumps(made_up_info(**changes)).encode(), "made up")


@pytest.fixture(params=["folder", "container"])
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    """An output with a run of ETL, and then one with a model that was trained until the 29th of June."""
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    output = ContainerOutput(MemoryContainer()) if request.param == "container" else FolderOutput(tmp_path / "output")
    without_model(output)
    with output.stage() as staging:
        bundles.write_bundle(staging.folder, bundles.random_features(80))
    return output


def without_model(output: Output) -> None:
    """Publish what ETL makes."""
    with output.stage() as staging:
        (staging.folder / paths.INFO).write_bytes(info().encoded())


def named(output: Output, link: str) -> Path:
    return open_run(output.at_hand({link: [paths.INFO]}), link)


def trained(output: Output) -> Info:
    return Info.read(named(output, paths.MODEL))


def later(known: Info, **changes: Any) -> Info:
    """`info` of a run that is to be trained, a week later."""
    week = timedelta(days=7)
    times = {"test_split_start": known.test_split_start + week, "train_end": known.train_end + week}
    return known.model_copy(update={**times, **changes})


def test_the_first_model_has_nobody_to_lose_against(tmp_path: Path) -> None:
    assert last_good(FolderOutput(tmp_path), info()) is None


def test_the_champion_is_the_model_that_answers_now(output: Output) -> None:
    without_model(output)  # ETL anew
    known = trained(output)
    champion = last_good(output, later(known))
    assert champion is not None
    assert champion.run == named(output, paths.MODEL).name != named(output, paths.CURRENT).name
    assert champion.since == known.test_split_start + timedelta(days=7)


def test_hours_that_the_champion_has_learned_from_do_not_count(output: Output) -> None:
    known = trained(output)
    older = known.model_copy(update={"test_split_start": known.test_split_start - timedelta(days=5)})
    champion = last_good(output, older)
    assert champion is not None
    assert champion.since == known.test_split_start
    too_short = older.model_copy(update={"train_end": known.test_split_start + timedelta(days=1)})
    with pytest.raises(ConfigError, match="wanted 2 days or more to compare both by"):
        last_good(output, too_short)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"featureSet": {"name": "direct", "version": 1}}, "featureSet: found direct 1, wanted classic 1"),
        ({"timezone": "Europe/Oslo"}, "timezone: found Europe/Oslo, wanted UTC"),
        ({"holidayCountry": "NO"}, "holidayCountry: found NO, wanted US"),
        ({"lowThreshold": 99.0}, "labelRule and its bounds: found absolute 99 500, wanted absolute 200 500"),
    ],
)
def test_models_that_answer_other_questions_are_not_compared(output: Output, changes: dict[str, Any], key: str) -> None:
    asked = later(Info.from_document({**trained(output).document(), **changes}))
    with pytest.raises(ConfigError, match=key):
        last_good(output, asked)


def test_bounds_that_are_learned_anew_may_differ_their_quantiles_may_not() -> None:
    common = {"low": 1.0, "high": 2.0, "source": "fleet"}
    labels = {"rule": "quantile", "common": common, "servers": {}, "lowQuantile": 0.5, "highQuantile": 0.85}
    first = info(labels=labels)
    moved = info(labels={**labels, "common": {**common, "high": 3.0}}, highThreshold=3.0)
    promotion._check_comparable(first, moved)
    with pytest.raises(ConfigError, match=r"found quantile 0.5 0.9, wanted quantile 0.5 0.85"):
        promotion._check_comparable(first, info(labels={**labels, "highQuantile": 0.9}))


def test_a_champion_that_was_changed_is_told_with_what_to_do(output: Output) -> None:
    folder = output.at_hand({paths.MODEL: paths.BUNDLE})
    (open_run(folder, paths.MODEL) / paths.FOREST_MODEL / "more").write_text("x")
    with pytest.raises(ArtefactError, match="last good model cannot be compared with") as told:
        last_good(output, later(trained(output)))
    assert "train without --unless-worse to replace it" in str(told.value)


def test_a_link_to_no_run_is_not_taken_for_the_first_model(tmp_path: Path) -> None:
    (tmp_path / paths.MODEL).symlink_to("runs/gone")
    with pytest.raises(ArtefactError, match="loadcast runs repair"):
        last_good(FolderOutput(tmp_path), info())


def test_a_model_that_was_rolled_back_is_nobody_to_lose_against(output: Output) -> None:
    assert last_good(output, later(trained(output))) is not None
    output.roll_back()
    assert last_good(output, info()) is None


def test_a_loser_leaves_an_output_as_it_was(output: Output) -> None:
    def seen() -> list[object]:
        return [output.runs(), output.problems(), named(output, paths.CURRENT), named(output, paths.MODEL)]

    def lose() -> None:
        with output.stage([paths.INFO]) as staging:
            bundles.write_bundle(staging.folder, bundles.random_features(80))
            raise HeldBackError("It loses.", numbers={})

    before = seen()
    with pytest.raises(HeldBackError):
        lose()
    assert seen() == before
    assert last_good(output, later(trained(output))) is not None


def test_the_champion_counts_its_trend_from_its_own_begin(output: Output) -> None:
    rows = bundles.random_features(50, seed=2)
    bundle = load_bundle(output.at_hand({paths.MODEL: paths.BUNDLE}))
    begin = datetime(2014, 2, 3)
    champion = Champion("run", bundle.encoders, bundle.model, begin, begin)
    seconds = [epoch_seconds(time) - epoch_seconds(begin) for time in rows.column(schema.HOUR).to_pylist()]
    own = pa.array([one / (classic.HOURS_PER_YEAR * 3_600) for one in seconds])
    at = rows.schema.get_field_index(classic.LINEAR_TREND)
    moved = rows.set_column(at, classic.LINEAR_TREND, own)
    elsewhere = rows.set_column(at, classic.LINEAR_TREND, pa.array([-9.0] * 50))
    wanted = champion.answers(moved)
    for given_rows in (rows, elsewhere):
        assert (champion.answers(given_rows).probabilities == wanted.probabilities).all()


def lost(monkeypatch: pytest.MonkeyPatch, hits: tuple[float, float]) -> Champion:
    """A champion, with a contest of 20 servers in which both have these hits out of 100 each."""
    sums = {f"s{at}": (100.0, *hits, 50.0, 50.0) for at in range(20)}
    monkeypatch.setattr(promotion, "contest", lambda *of: ContestTally(sums, {"2016-06-01": (1.0,) * 5}))
    return Champion(ONCE[0], None, None, datetime(2016, 6, 1), datetime(2016, 6, 1))  # type: ignore[arg-type]


def test_a_loser_is_an_error_with_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HeldBackError) as held:
        promoted(None, None, lost(monkeypatch, (60.0, 80.0)))  # type: ignore[arg-type]
    first, _, accuracy, _, todo = held.value.args
    assert first == (f"The new model was not published: it loses against that of the run {ONCE[0]}, which goes on.")
    assert "accuracy 0.6000, the last good model's 0.8000: -0.2000 (-0.2000 to -0.2000)" in accuracy
    assert "train without --unless-worse" in todo
    assert held.value.exit_code == 14
    own = [error.exit_code for error in LoadcastError.__subclasses__()]
    assert own.count(14) == 1
    for hits in ((80.0, 80.0), (81.0, 80.0)):
        assert promoted(None, None, lost(monkeypatch, hits)).champion == ONCE[0]  # type: ignore[arg-type]


def test_without_an_observed_hour_nothing_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    champion = lost(monkeypatch, (1.0, 1.0))
    monkeypatch.setattr(promotion, "contest", lambda *of: ContestTally.none())
    with pytest.raises(InputError, match="Found no observed hour"):
        promoted(None, None, champion)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 500), st.floats(0, 500))
def test_who_is_published_has_not_lost(challenger: float, champion: float, loss: float, other: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        asked = lost(patch, (challenger, champion))
        sums = {f"s{at}": (100.0, challenger, champion, loss, other) for at in range(20)}
        patch.setattr(promotion, "contest", lambda *of: ContestTally(sums, {}))
        try:
            promoted(None, None, asked)  # type: ignore[arg-type]
            was_published = True
        except HeldBackError:
            was_published = False
    # All servers are the same here, so the margins alone decide.
    assert was_published == (challenger - champion >= -0.5 and loss - other <= 1)


def test_the_command_ends_with_that_code_and_says_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunRequest] = []

    def work(request: RunRequest, progress: object) -> None:
        asked.append(request)
        raise HeldBackError("The new model was not published.", "accuracy 0.1", numbers={"contest/accuracy/low": -1.0})

    monkeypatch.setattr(pipeline_run, "_work", lambda step: work)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(PLAIN))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "log"))
    result = CliRunner().invoke(main, ["train", str(config), "--unless-worse"])
    assert result.exit_code == 14
    assert result.stderr.splitlines()[-2:] == ["loadcast: The new model was not published.", "accuracy 0.1"]
    assert [request.unless_worse for request in asked] == [True]
    assert series(read_logged(tmp_path / "log")).keys() == {"contest/accuracy/low", "seconds/total"}


def test_the_request_says_it_and_requests_of_before_keep_their_digest() -> None:
    configured = parse_settings(PLAIN)
    plain, asked = (RunRequest(settings=configured, step="train", unless_worse=flag) for flag in (False, True))
    assert RunRequest.parse(asked.to_json()) == asked
    assert "unlessWorse" not in json.loads(plain.to_json())
    assert plain.digest != asked.digest
    with pytest.raises(ConfigError, match="unlessWorse: found it with the step etl; wanted it with train"):
        RunRequest(settings=configured, step="etl", unless_worse=True)
