"""What a tuning tries: the same trials each time, within what the space says, and nothing else from hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refits
import toymodel
import tunings
from loadcast.errors import ConfigError
from loadcast.model_settings import BoostedSettings
from loadcast.models import registry
from loadcast.pipeline.refitting import refits_of
from loadcast.settings import parse_settings
from loadcast.tuning.space import SearchSpace, Trial, load_space, nested, tuned_configuration, value_of

SETTINGS = tunings.SETTINGS


def kinds(trials: list[Trial]) -> list[str]:
    return [json.dumps(trial.changes, sort_keys=True) for trial in trials]


def test_the_configuration_comes_first_then_with_other_seeds_and_none_is_tried_twice() -> None:
    trials = tunings.SPACE.trials(60)
    assert trials[0] == Trial(0, {}, SETTINGS)
    assert [dict(trial.changes) for trial in trials[1 : tunings.SPACE.controls]] == [{"seed": 43}, {"seed": 44}]
    assert {trial.settings.boosted.seed for trial in trials[tunings.SPACE.controls :]} == {42}
    largest = SearchSpace.of(refits.make_settings(model="boosted", boosted={"seed": 2**31 - 1}))
    assert [trial.settings.boosted.seed for trial in largest.trials(3)] == [2**31 - 1, 2**31 - 2, 2**31 - 3]
    assert len({*kinds(trials)}) == 60
    assert [trial.number for trial in trials] == list(range(60))


def test_more_trials_begin_with_the_same_and_each_call_draws_the_same() -> None:
    assert tunings.SPACE.trials(40)[:12] == SearchSpace.of(SETTINGS).trials(12)


def test_changes_are_what_differs_and_the_settings_have_them() -> None:
    for trial in tunings.SPACE.trials(30):
        for key in tunings.SPACE.choices:
            wanted = trial.changes.get(key, value_of(SETTINGS, key))
            assert value_of(trial.settings, key) == wanted
            assert (key in trial.changes) == (wanted != value_of(SETTINGS, key))
        kept = {"boosted", "feature_set"}
        assert trial.settings.model_dump(exclude=kept) == SETTINGS.model_dump(exclude=kept)


@settings(max_examples=40)
@given(st.integers(1, 1500), st.integers(1, 400), st.booleans())
def test_whole_numbers_stay_in_their_range_and_reach_its_ends(low: int, width: int, log: bool) -> None:
    space = SearchSpace.of(SETTINGS, {"numRounds": {"low": low, "high": low + width, "log": log}})
    assert space._drawn("numRounds", space.choices["numRounds"], 0.0) == low
    assert space._drawn("numRounds", space.choices["numRounds"], 1 - 2**-53) == low + width
    drawn = [trial.settings.boosted.num_rounds for trial in space.trials(9)[space.controls :]]
    assert all(type(value) is int and low <= value <= low + width for value in drawn)


@settings(max_examples=40)
@given(st.floats(1e-6, 0.4), st.floats(1e-3, 0.5), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_numbers_stay_in_their_range(low: float, width: float, log: bool, share: float) -> None:
    space = SearchSpace.of(SETTINGS, {"learningRate": {"low": low, "high": low + width, "log": log}})
    assert low <= space._drawn("learningRate", space.choices["learningRate"], share) <= low + width


def test_a_small_space_ends_when_all_of_it_was_drawn() -> None:
    space = SearchSpace.of(SETTINGS, {"maxDepth": [3, 7], "featureSet": ["direct", "extended"]})
    assert {*kinds(space.trials(100))} == {
        "{}",
        '{"seed": 43}',
        '{"seed": 44}',
        '{"maxDepth": 3}',
        '{"featureSet": "extended"}',
        '{"featureSet": "extended", "maxDepth": 3}',
    }


def test_the_seed_and_what_labels_mean_cannot_be_tuned() -> None:
    assert "seed" not in tunings.SPACE.known()
    for key in ("seed", "labelRule", "lowQuantile", "output", "storageKey"):
        with pytest.raises(ConfigError, match=f"found the key '{key}', wanted one or more of numRounds"):
            SearchSpace.of(SETTINGS, {key: ["x"]})


def test_a_family_of_another_package_is_tuned_by_feature_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OWN", (*registry._OWN, toymodel.FAMILY))
    space = SearchSpace.of(refits.make_settings())
    assert space.known() == ["featureSet"]
    assert [dict(trial.changes) for trial in space.trials(9)] == [{}, {"featureSet": "extended"}]


def test_the_usual_ranges_are_ones_that_the_settings_allow() -> None:
    names = {field.alias or name for name, field in BoostedSettings.model_fields.items()}
    assert {*SearchSpace.of(SETTINGS).choices} - {"featureSet"} <= names
    assert SearchSpace.of(refits.make_settings(model="forest")).trials(4)


HOSTILE: list[tuple[Any, str]] = [
    ({}, "found no key"),
    ({"numRound": [1]}, "found the key 'numRound', wanted one or more of numRounds"),
    ({"x" * 10_000: [1]}, "found the key 'xxx"),
    ({"numRounds": []}, "found 0 values, wanted 1 to 1,000"),
    ({"numRounds": list(range(1, 1_002))}, "found 1,001 values"),
    ({"numRounds": 5}, r"found 5, wanted a list of values, or \{\"low\""),
    ({"numRounds": "a"}, "wanted a list of values"),
    ({"numRounds": None}, "wanted a list of values"),
    ({"numRounds": [0]}, "boosted.numRounds: found 0, wanted"),
    ({"numRounds": [2.5]}, "boosted.numRounds: found 2.5, wanted"),
    ({"numRounds": [10**90]}, "boosted.numRounds: found 1000"),
    ({"numRounds": [True]}, "found True, wanted a number or a text"),
    ({"numRounds": [[60]]}, r"found \[60\], wanted a number or a text"),
    ({"numRounds": [None]}, "found None, wanted a number or a text"),
    ({"numRounds": {"low": 5}}, "wanted a list of values"),
    ({"numRounds": {"low": 5, "high": 9, "step": 2}}, "wanted a list of values"),
    ({"numRounds": {"low": 5, "high": 9, "log": "yes"}}, "wanted a list of values"),
    ({"numRounds": {"low": 9, "high": 5}}, "found low 9 and high 5, wanted low below high"),
    ({"numRounds": {"low": 5, "high": 5}}, "wanted low below high"),
    ({"numRounds": {"low": 5.5, "high": 9}}, "wanted ends that are whole numbers"),
    ({"numRounds": {"low": 5, "high": 10_000}}, "boosted.numRounds: found 10000, wanted"),
    ({"numRounds": {"low": True, "high": 9}}, "wanted ends that are whole numbers"),
    ({"learningRate": {"low": "a", "high": "b"}}, "wanted ends that are numbers"),
    ({"learningRate": {"low": 0.0, "high": 0.5}}, "boosted.learningRate: found 0.0"),
    ({"minChildWeight": {"low": 0, "high": 5, "log": True}}, "wanted a low above 0"),
    ({"featureSet": {"low": 1, "high": 2}}, "wanted a list of values"),
    ({"featureSet": ["classic"]}, "found 'classic', wanted direct, extended"),
    ({"featureSet": ["none"]}, "featureSet: found 'none', wanted one of"),
    ({"featureSet": [7]}, "featureSet"),
    ({"featureSet": ["\x1b[2J"]}, "featureSet"),
]


@pytest.mark.parametrize(("choices", "message"), HOSTILE, ids=[message[:40] for _, message in HOSTILE])
def test_a_space_that_cannot_be_is_one_message(tmp_path: Path, choices: Any, message: str) -> None:
    path = tmp_path / "space.json"
    path.write_text(json.dumps(choices))
    with pytest.raises(ConfigError, match=message) as refused:
        load_space(path, SETTINGS)
    assert "--space" in str(refused.value) or "featureSet" in str(refused.value)
    assert str(refused.value).replace("\n", "").isprintable()
    assert len(str(refused.value)) < 2_000


@pytest.mark.parametrize("choice", [[64, 512], {"low": 16, "high": 512}, {"low": 16, "high": 1024, "log": True}])
def test_what_no_task_could_fit_is_refused_as_the_space_is_read(tmp_path: Path, choice: Any) -> None:
    """Not at the trial that draws it, an hour later."""
    path, most = tmp_path / "space.json", choice[-1] if isinstance(choice, list) else choice["high"]
    path.write_text(json.dumps({"numTrees": [50], "maxBins": choice}))
    wanted = rf"^--space .*space\.json, maxBins: forest\.maxBins: found {most}, wanted at most 256 .* Set a smaller one"
    with pytest.raises(ConfigError, match=wanted):
        load_space(path, refits.make_settings(model="forest"))
    path.write_text(json.dumps({"maxBins": [256, 2]}))
    assert load_space(path, refits.make_settings(model="forest")).choices == {"maxBins": [256, 2]}


def test_a_configuration_that_no_task_could_fit_is_refused_as_what_it_is() -> None:
    """It is the first trial of any space; and a backtest refuses it before Spark starts."""
    settings = refits.make_settings(model="forest", forest={"maxBins": 512})
    for refused in (lambda: SearchSpace.of(settings, {"numTrees": [50]}), lambda: refits_of(settings, 1, 2)):
        with pytest.raises(ConfigError, match=r"^forest\.maxBins: found 512, wanted at most 256"):
            refused()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "it is not JSON"),
        (b"[1]", "found a list, wanted a JSON object"),
        (b"\xff", "it is not JSON"),
        (b'{"numRounds": [1], "numRounds": [2]}', "stands in it twice"),
        (b'{"numRounds": [NaN]}', "NaN"),
        (b'{"learningRate": [1e999]}', "a number too large"),
        (b'{"numRounds": [' + b"9" * 5_000 + b"]}", "a number of 5,000 digits"),
        (b'{"numRounds": ' + b"[" * 100_000, "nested deeper"),
        (b" " * (2 << 20), "larger than a space"),
    ],
)
def test_a_file_that_is_no_space_is_one_message(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "space.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        load_space(path, SETTINGS)


@pytest.mark.parametrize("name", ["none.json", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_one_message(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_space(tmp_path / name, SETTINGS)


def test_a_tuned_configuration_has_the_keys_that_were_given_and_the_new_ones() -> None:
    given_keys = {"storageAccount": "account", "storageContainer": "c", "storageKey": "env:THE_KEY"}
    own = {"boosted": {"numRounds": 70, "seed": 7}, "costs": [[0, 1, 2], [3, 0, 1], [9, 4, 0]]}
    before = refits.make_settings(model="boosted", **given_keys, **own)
    changes = nested({}, {"numRounds": 99, "featureSet": "extended"}, "boosted")
    document = json.loads(tuned_configuration(before, changes))
    assert document["boosted"] == {"numRounds": 99, "seed": 7}
    assert document["storageKey"] == "env:THE_KEY"
    assert "originEveryHours" not in document
    after = parse_settings(document)
    assert (after.feature_set, after.boosted.num_rounds) == ("extended", 99)
    kept = {"boosted", "feature_set"}
    assert after.model_dump(exclude=kept) == before.model_dump(exclude=kept)
