"""What a run is asked to do: it goes as JSON and comes back the same, its digest says all, and it holds no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast import schema
from loadcast.errors import ArtefactError, ConfigError
from loadcast.progress import Stopwatch, Update, silent
from loadcast.run_request import RunRequest
from loadcast.run_result import RunResult, StepTime
from loadcast.settings import DURATIONS, Settings, parse_settings
from loadcast.spark.options import SparkOptions

PLAIN = {"dataFile": "logs/*.csv", "output": "output", "duration": "ONE_MONTH"}
SIGNED = "https://acct.blob.core.windows.net/c/logs?sv=2020&sig=bm90LWEtc2lnbmF0dXJl"
#: A value that is not the default, for every key.
CHANGED: dict[str, Any] = {
    "dataFile": "wasbs://logs@acct.blob.core.windows.net/*.csv",
    "duration": "FULL",
    "storageAccount": "acct",
    "storageContainer": "container",
    "storageKey": "env:AZURE_STORAGE_KEY",
    "storageEndpoint": "http://127.0.0.1:10000/acct",
    "output": "elsewhere",
    "trainBegin": "2016-06-02 03:04:05",
    "trainEnd": "2016-06-30 23:59:58",
    "testSplitStart": "2016-06-20 00:00:01",
    "lowThreshold": 0.1,
    "highThreshold": 1e300,
    "labelRule": "perServer",
    "lowQuantile": 0.25,
    "highQuantile": 0.75,
    "costs": {
        "low": {"low": 0.0, "medium": 1.0, "high": 2.0},
        "medium": {"low": 3.0, "medium": 0.0, "high": 1.0},
        "high": {"low": 9.5, "medium": 4.0, "high": 0.0},
    },
    "minConfidence": 0.6,
    "filterServers": ["::1"],
    "columns": [*reversed(schema.SESSION_COLUMNS_17)],
    "timezone": "Europe/Oslo",
    "holidayCountry": "NO",
    "maxRejectedFraction": 0.3,
    "keepScanned": False,
    "contract": {schema.TOTAL_LOAD: {"min": 1, "onBreach": "reject"}, schema.MBYTES: {"max": 0.5}},
    "model": "boosted",
    "featureSet": "weekly",
    "originEveryHours": 12,
    "forest": {"numTrees": 7, "seed": -3, "featureSubsetStrategy": "0.5"},
    "boosted": {"numRounds": 5, "seed": 3},
}


def request(step: Any = "etl", spark: SparkOptions | None = None, **changes: Any) -> RunRequest:
    return RunRequest(settings=parse_settings({**PLAIN, **changes}), step=step, spark=spark or SparkOptions())


def test_every_key_has_a_changed_value_here() -> None:
    assert {field.alias for field in Settings.model_fields.values()} == set(CHANGED)


@pytest.mark.parametrize("changes", [{}, CHANGED, *({key: value} for key, value in CHANGED.items())], ids=str)
def test_a_configuration_goes_through_json_unchanged(changes: dict[str, Any]) -> None:
    settings = parse_settings({**PLAIN, **changes})
    document = json.loads(json.dumps(settings.document()))
    assert parse_settings(document) == settings
    assert {key: document[key] for key in changes if key not in ("forest", "boosted", "contract")} == {
        key: value for key, value in changes.items() if key not in ("forest", "boosted", "contract")
    }


@given(st.datetimes(min_value=parse_settings(PLAIN).train_begin.replace(year=1), max_value=parse_settings(PLAIN).split))
def test_every_time_of_whole_seconds_goes_through_json(begin: Any) -> None:
    begin = begin.replace(microsecond=0)
    plain = {
        **PLAIN,
        "trainBegin": begin,
        "trainEnd": begin.replace(year=begin.year + 1, day=1),
        "testSplitStart": None,
    }
    settings = parse_settings(plain)
    assert parse_settings(settings.document()) == settings


def test_a_time_with_a_part_of_a_second_is_refused() -> None:
    begin = parse_settings(PLAIN).train_begin.replace(microsecond=1)
    with pytest.raises(ConfigError, match=r"trainBegin.*whole seconds"):
        parse_settings({**PLAIN, "trainBegin": begin})


@pytest.mark.parametrize("step", ["etl", "stats", "train"])
def test_a_request_goes_through_json_unchanged(step: str) -> None:
    options = SparkOptions("yarn", True, {"spark.executor.memory": "4g", "spark.x": "é\n\u2028"})
    sent = request(step, options, **CHANGED)
    assert RunRequest.parse(sent.to_json()) == sent
    assert RunRequest.parse(sent.to_json().encode()).digest == sent.digest
    assert json.loads(sent.to_json())["settings"]["trainBegin"] == "2016-06-02 03:04:05"


def test_the_digest_is_of_all_that_is_asked_and_of_nothing_else() -> None:
    asked = [
        request(),
        request("stats"),
        request("train"),
        RunRequest(settings=parse_settings(PLAIN), step="etl", filter_ip=True),
        *(request(spark=options) for options in (SparkOptions("yarn"), SparkOptions(None, True))),
        request(spark=SparkOptions(None, False, {"spark.x": "1"})),
        *(request(**{key: value}) for key, value in CHANGED.items()),
    ]
    assert len({one.digest for one in asked}) == len(asked)
    assert request().digest == request(**DURATIONS["ONE_MONTH"]).digest == request(timezone="UTC").digest
    assert len(bytes.fromhex(request().digest)) == 32


def test_the_digest_does_not_depend_on_the_process() -> None:
    """It is kept in histories: another value here means that all of them are of another form."""
    assert request().digest == "c33c7eb33cd7e82f588f1f9305259c37a3aa9b586c7b2bb22d8680a27e93c265"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.hadoop.fs.azure.account.key.mine.blob.core.windows.net", "bm90LWEta2V5"),
        ("spark.authenticate.secret", "hush-hush"),
        ("spark.executorEnv.WHERE", SIGNED),
    ],
)
def test_a_secret_among_spark_s_settings_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Spark setting {name}: found a secret") as caught:
        request(spark=SparkOptions(extra={name: value}))
    assert value not in str(caught.value)
    sent = json.loads(request().to_json())
    sent["spark"]["extra"] = {name: value}
    with pytest.raises(ConfigError, match=rf"^Spark setting {name}: found a secret"):
        RunRequest.parse(json.dumps(sent))


@pytest.mark.parametrize("key", ["dataFile", "output"])
def test_a_signature_in_an_address_runs_here_but_is_not_sent(key: str) -> None:
    signed = request(**{key: SIGNED})
    with pytest.raises(ConfigError, match=rf"^{key}: found a secret .* datastore register"):
        signed.to_json()
    assert signed.digest == request(**{key: SIGNED.replace("bm90", "bm91")}).digest != request().digest


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"step": "fit"}, "step: "),
        ({"filterIp": "yes"}, "filterIp: "),
        ({"filterIp": True, "step": "train"}, "filterIp: found it with the step train"),
        ({"more": 1}, "more: "),
        ({"spark": {"shwLog": True}}, "spark.shwLog: "),
        ({"formatVersion": 2}, "formatVersion: found 2, wanted 1"),
        ({"formatVersion": True}, "formatVersion: found True"),
        ({"settings": None}, "has no settings"),
        ({"settings": {**PLAIN, "duration": "SOON"}}, "duration: found 'SOON'"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_an_error_that_names_it(changes: dict[str, Any], wanted: str) -> None:
    sent = {**json.loads(request().to_json()), **changes}
    with pytest.raises(ConfigError) as caught:
        RunRequest.parse(json.dumps(sent))
    assert wanted in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1, "a": 2}', "[" * 100_000, '{"formatVersion": NaN}'])
def test_what_is_no_request_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="The run request"):
        RunRequest.parse(text)


def test_etl_and_training_need_a_test_period() -> None:
    custom = {"duration": "CUSTOM", "trainBegin": "2016-06-01 00:00:00", "trainEnd": "2016-06-02 00:00:00"}
    request("stats", **custom)
    for step in ("etl", "train"):
        with pytest.raises(ConfigError, match="testSplitStart: found nothing"):
            request(step, **custom)


# --- the result -----------------------------------------------------------------------------------------------------


def test_the_stopwatch_keeps_each_step_s_time_that_of_a_failed_one_too() -> None:
    told: list[tuple[int, int]] = []

    @contextmanager
    def progress(title: str) -> Iterator[Update]:
        with silent(title):
            yield lambda done, total: told.append((done, total))

    watch = Stopwatch(progress)
    with watch("Reading 3 files") as update:
        update(1, 2)
    with pytest.raises(ValueError, match="no"), watch("Writing"):
        raise ValueError("no")
    assert (told, [title for title, _ in watch.laps]) == ([(1, 2)], ["Reading 3 files", "Writing"])
    assert all(taken_s >= 0 for _, taken_s in watch.laps)
    assert StepTime(title=watch.laps[0][0], duration_s=watch.laps[0][1]).name == "reading"


@pytest.mark.parametrize("text", ["{}", "[]", '{"formatVersion": 2}', '{"quality": {}}'])
def test_what_is_no_result_is_an_error(text: str) -> None:
    with pytest.raises(ArtefactError, match="the result cannot be read"):
        RunResult.parse(text.encode(), "the result")


def test_the_settings_of_the_model_stand_in_a_document_as_their_defaults_change() -> None:
    chosen = parse_settings({**PLAIN, "model": "boosted"})
    assert chosen.document()["boosted"] == chosen.boosted.model_dump(by_alias=True)
    assert parse_settings(chosen.document()) == chosen
