"""Bundles of every Spark from 2.1 on, and the public sample's: the answers of a plain reading of the same files."""

from __future__ import annotations

import json
from typing import Any

import pytest

import reference
from bundles import random_features, records
from loadcast import paths, schema
from loadcast.serving.bundle import load_bundle
from loadcast.serving.predictor import Predictor
from loadcast.serving.request_contract import ContractError, RequestContract
from loadcast.storage.checksum import sha256_of_files
from spark_layouts import LAYOUTS, SAMPLE, MadeBundle, as_sample_client, write_layout

TRAINING = random_features(200)
SEEN = records(random_features(60, seed=3))
#: One unseen level each, of a column that is encoded and of one that is only indexed.
UNSEEN = [{**SEEN[0], "ServerIP": "192.0.2.9"}, {**SEEN[1], "year": 2031}, {**SEEN[2], "weekofyear": 1}]
every_layout = pytest.mark.parametrize("name", LAYOUTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MadeBundle]:
    folder = tmp_path_factory.mktemp("layouts")
    return {
        name: write_layout(folder / str(number), TRAINING, layout, seed=number)
        for number, (name, layout) in enumerate(LAYOUTS.items())
    }


@pytest.fixture(scope="module")
def loaded(made: dict[str, MadeBundle]) -> dict[str, Predictor]:
    return {name: Predictor.load(bundle.folder) for name, bundle in made.items()}


@pytest.fixture(scope="module")
def sample(loaded: dict[str, Predictor]) -> Predictor:
    return loaded["2.1, the public sample"]


def sent(bundle: MadeBundle, wanted: list[dict[str, Any]]) -> bytes:
    return json.dumps([*map(as_sample_client, wanted)] if bundle.layout.is_sample else wanted).encode()


def answered(predictor: Predictor, body: bytes) -> list[tuple[int, list[float]]]:
    """Labels and probabilities; whichever way they are asked for, they are the same."""
    answers = predictor.score(body).answers()
    assert answers == reference.answers(predictor._bundle, predictor.contract.read_request(body))
    return [(answer["prediction"], list(answer["probability"].values())) for answer in answers.values()]


def answered_in_columns(predictor: Predictor, wanted: list[dict[str, Any]]) -> list[tuple[int, list[float]]]:
    """The same for columns, in loadcast's own spelling."""
    names = predictor.contract.schema.names
    columns = {name: [record[name] for record in wanted] for name in names}
    scored = predictor.score_columns(predictor.contract.read_columns(columns, len(wanted)))
    return list(zip(scored.labels.tolist(), scored.probabilities.tolist(), strict=True))


@every_layout
def test_the_answers_are_those_of_a_plain_reading(
    name: str, made: dict[str, MadeBundle], loaded: dict[str, Predictor]
) -> None:
    bundle = made[name]
    expected = [bundle.expected(record) for record in SEEN]
    assert answered(loaded[name], sent(bundle, SEEN)) == expected
    assert answered_in_columns(loaded[name], SEEN) == expected
    assert len({tuple(answer[1]) for answer in expected if answer}) > 10


@every_layout
def test_an_unseen_level_is_kept_skipped_or_refused_as_the_indexer_says(
    name: str, made: dict[str, MadeBundle], loaded: dict[str, Predictor]
) -> None:
    bundle, wanted = made[name], [SEEN[5], *UNSEEN, SEEN[6]]
    if bundle.layout.invalid == "error":
        with pytest.raises(ContractError) as caught:
            loaded[name].score(sent(bundle, wanted))
        with pytest.raises(ContractError) as same:
            answered_in_columns(loaded[name], wanted)
        assert caught.value.problems == same.value.problems
        assert caught.value.problems == [
            {"record": 1, "field": "ServerIP", "found": "192.0.2.9", "wanted": "a value that training has seen"}
        ]
    else:
        expected = [answer for record in wanted if (answer := bundle.expected(record)) is not None]
        assert len(expected) == (5 if bundle.layout.invalid == "keep" else 2)
        assert answered(loaded[name], sent(bundle, wanted)) == expected
        assert answered_in_columns(loaded[name], wanted) == expected


def test_a_bundle_of_loadcast_keeps_its_contract(loaded: dict[str, Predictor]) -> None:
    kinds = {name: type(predictor.contract) is RequestContract for name, predictor in loaded.items()}
    assert kinds == {name: layout.invalid == "keep" for name, layout in LAYOUTS.items()}


# --- the public sample's records ------------------------------------------------------------------------------------

RECORD = as_sample_client(SEEN[0])


@pytest.mark.parametrize(
    "body",
    [
        [{**RECORD, schema.KEY: "10.0.0.1_2016-06-29 01:00:00"}],
        [{**RECORD, "dayofweek": SEEN[0]["dayofweek"]}],
        json.dumps([RECORD]),
        json.dumps([RECORD], indent=1),
    ],
    ids=["with its key", "a day by number", "a text that holds the array", "the same with line breaks"],
)
def test_other_spellings_of_a_record_have_its_answer(sample: Predictor, body: object) -> None:
    assert sample.score(json.dumps(body).encode()).answers() == sample.score(json.dumps([RECORD]).encode()).answers()


def test_times_as_pandas_writes_them_are_taken_by_the_wall_clock(sample: Predictor) -> None:
    answers = sample.score(json.dumps([{**RECORD, schema.HOUR: 1467331200000}]).encode()).answers()
    assert answers["0"][schema.HOUR] == "2016-07-01 00:00:00"


def test_null_is_0_where_the_sample_filled_it(sample: Predictor) -> None:
    empty = {name: None for name in RECORD if "Lag" in name or name == "linearTrend"}
    zero = dict.fromkeys(empty, 0)
    score = [sample.score(json.dumps([{**RECORD, **change}]).encode()).answers() for change in (empty, zero)]
    assert score[0] == score[1]


def test_the_clients_day_of_the_month_0_is_a_level_that_training_never_saw(sample: Predictor) -> None:
    body = json.dumps([{**RECORD, "dayofmonth": 0}, RECORD]).encode()
    assert list(sample.score(body).answers()) == ["0"]


@pytest.mark.parametrize(
    ("change", "field", "wanted"),
    [
        ({"dayofweek": "Funday"}, "dayofweek", "a day from Monday to Sunday, or an integer from 1 to 7"),
        ({"dayofweek": None}, "dayofweek", "a day from Monday to Sunday, or an integer from 1 to 7"),
        ({schema.HOUR: -1}, schema.HOUR, "a time as yyyy-MM-dd HH:mm:ss, or milliseconds since 1970"),
        ({schema.HOUR: 10**18}, schema.HOUR, "a time as yyyy-MM-dd HH:mm:ss, or milliseconds since 1970"),
        ({schema.HOUR: True}, schema.HOUR, "a time as yyyy-MM-dd HH:mm:ss, or milliseconds since 1970"),
        ({"year": None}, "year", "an integer from 1 to 9999"),
        ({"peakLoadLag48": "x"}, "peakLoadLag48", "a finite number"),
    ],
)
def test_faults_of_the_samples_records_are_named(
    sample: Predictor, change: dict[str, Any], field: str, wanted: str
) -> None:
    with pytest.raises(ContractError) as caught:
        sample.score(json.dumps([RECORD, {**RECORD, **change}]).encode())
    assert [(fault["record"], fault["field"], fault["wanted"]) for fault in caught.value.problems] == [
        (1, field, wanted)
    ]


def test_records_that_a_caller_gives_are_not_changed(sample: Predictor) -> None:
    given = {**RECORD, schema.HOUR: 1467331200000}
    before = dict(given)
    sample.contract.read_records([given])
    assert given == before


def test_a_field_that_stands_twice_is_named(sample: Predictor) -> None:
    text = json.dumps([RECORD]).replace('"dayofweek"', '"dayofweek": "Monday", "dayofweek"', 1)
    with pytest.raises(ContractError) as caught:
        sample.score(text.encode())
    assert caught.value.problems[0]["found"] == "the same field more than once"


def test_many_faults_of_levels_are_counted_and_the_first_are_listed(loaded: dict[str, Predictor]) -> None:
    with pytest.raises(ContractError, match="Found 150 fault") as caught:
        loaded["3.5, no slot is dropped"].score(json.dumps([UNSEEN[0]] * 150).encode())
    assert (caught.value.problem_count, len(caught.value.problems)) == (150, 100)


def test_the_samples_bundle_tells_what_it_was_made_with(made: dict[str, MadeBundle]) -> None:
    bundle = load_bundle(made["2.1, the public sample"].folder)
    assert bundle.info.features.name == "public_sample"
    assert bundle.info.feature_columns == list(made["2.1, the public sample"].vector)
    assert bundle.info.files == sha256_of_files(bundle.folder, paths.BUNDLE_FOLDERS)
    assert SAMPLE.n_parts == 1_000
