"""`/forecast` behind a gate: the same answers as `loadcast.gated_forecast` gives of the same statistics."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from flask import Flask

import loadcast
from bundles import random_features, write_bundle
from fake_scoring import fake_service, right
from gates import gappy, gate_for, info_changes, info_of, names_of, random_gate
from loadcast import paths, schema
from loadcast.api import forecasts
from loadcast.artefacts.info import Info
from loadcast.cli.main import main
from loadcast.errors import ArtefactError
from loadcast.serving.answer_rule import AnswerRule
from loadcast.serving.app import create_app
from loadcast.serving.gate_file import LiveGate
from loadcast.serving.request_contract import RequestContract
from loadcast.serving.scored import Scored
from loadcast.settings import Settings, parse_settings
from published import HourPredictor, publish, served

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
NEWEST = datetime(2016, 6, 12, 6)
VALID_UNTIL = NEWEST + timedelta(hours=24)
SETS = ("classic", "extended", "direct")
COSTS = {
    "low": {"low": 0.0, "medium": 1.0, "high": 2.0},
    "medium": {"low": 1.0, "medium": 0.0, "high": 1.0},
    "high": {"low": 9.0, "medium": 4.0, "high": 0.0},
}
CHANGES: dict[str, dict[str, Any]] = {"classic": {}, "extended": {"minConfidence": 0.6}, "direct": {"costs": COSTS}}


class MadeUpPredictor:
    """A predictor of any feature set; its answers are made of the sums of the features, as chance would."""

    def __init__(self, info: Info) -> None:
        self.info, self.contract = info, RequestContract(info.features)

    def score_table(self, table: pa.Table) -> Scored:
        numbers = [table.column(name).to_numpy().astype(float) for name in self.contract.features.names]
        weights = np.random.default_rng(0).random((len(numbers), 3))
        shares = 1.5 + np.sin(np.column_stack(numbers) @ weights)
        probabilities = shares / shares.sum(axis=1, keepdims=True)
        names = table.column(schema.SERVER).to_pylist()
        hours = [str(time) for time in table.column(schema.HOUR).to_pylist()]
        further = AnswerRule.of(self.info).fields(names, probabilities)
        cold = np.array([name.endswith(".4") for name in names])
        return Scored(names, hours, probabilities.argmax(axis=1) + 1, probabilities, cold, further)


def published(folder: Path, feature_set: str) -> tuple[Settings, Info]:
    """Statistics of four servers, one of which ends early, and another of which is young, beside a model."""
    tables = [gappy(server, seed) for seed, server in enumerate(SERVERS)]
    tables[2] = tables[2].slice(0, 1_000)
    tables[3] = tables[3].slice(1_000)
    changes = info_changes(feature_set, trainBegin="2016-04-15 00:00:00", **CHANGES[feature_set])
    output = folder / "output"
    run = publish(output, pa.concat_tables(tables), changes)
    (output / paths.MODEL).symlink_to(run.relative_to(output))
    settings = {"duration": "CUSTOM", "dataFile": "x.csv", "output": str(output)}
    times = {"trainBegin": "2016-04-15 00:00:00", "trainEnd": "2016-06-30 23:59:59"}
    settings |= {"testSplitStart": "2016-06-01 00:00:00", "lowThreshold": 200, "highThreshold": 500, **times}
    return parse_settings(settings), Info.read(run)


@pytest.fixture(scope="module", params=SETS)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Info]:
    return published(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Info]:
    return published(tmp_path_factory.mktemp("classic"), "classic")


def application(settings: Settings, info: Info, gate: Path | None) -> Flask:
    live = None if gate is None else LiveGate(gate)
    return create_app(
        MadeUpPredictor(info),
        keys=None,
        name="loadcast",
        statistics=Path(str(settings.output)),
        forecast_gate=live,
    )


def row_of(hour: Mapping[str, Any], bounds: Mapping[str, Any]) -> dict[str, Any]:
    """An hour of /forecast as a row of gated_forecast's table."""
    row = {name: hour[name] for name in hour if name not in ("probability", schema.MODEL)}
    row |= {name: hour["probability"][label] for label, name in by_label(schema.PROBABILITY_COLUMNS).items()}
    row |= {schema.LOW_THRESHOLD: bounds["low"], schema.HIGH_THRESHOLD: bounds["high"]}
    if schema.MODEL in hour:
        said = hour[schema.MODEL]
        row[schema.MODEL_PREDICTION] = said[schema.PREDICTION]
        columns = by_label(schema.MODEL_PROBABILITY_COLUMNS)
        row |= {name: said["probability"][label] for label, name in columns.items()}
    return row


def by_label(columns: Mapping[int, str]) -> dict[str, str]:
    return {schema.CLASS_NAMES[number]: name for number, name in columns.items()}


@pytest.mark.parametrize("seed", [1, 2])
def test_it_answers_as_gated_forecast_does_for_any_server_and_origin(
    fleet: tuple[Settings, Info], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    settings, info = fleet
    path = tmp_path / "gate.json"
    path.write_bytes(random_gate(info, NEWEST, VALID_UNTIL, SERVERS, seed).encoded())
    monkeypatch.setattr(forecasts, "load_model", lambda where: MadeUpPredictor(info))
    client = application(settings, info, path).test_client()
    validator = jsonschema_rs.validator_for(
        {**client.get("/openapi.json").json, "$ref": "#/components/schemas/Forecast"}
    )
    unknown = ["10.9.9.9"] if info.features.simulates_cutoffs else []
    by, differs = set(), 0
    for later_h in {1: (0, 1, 25), 2: (7, 26)}[seed]:
        begin = NEWEST + timedelta(hours=later_h)
        wanted = loadcast.gated_forecast(settings, path, servers=[*SERVERS, *unknown], begin=begin).to_pylist()
        for number, server in enumerate([*SERVERS, *unknown]):
            body = client.get("/forecast", query_string={"server": server, "from": str(begin)}).json
            validator.validate(body)
            rows = [row_of(hour, body["bounds"]) for hour in body["hours"]]
            for row, other in zip(rows, wanted[48 * number : 48 * number + 48], strict=True):
                assert row == {**other, schema.HOUR: str(other[schema.HOUR])}
                assert (schema.ANSWERED_BY in row) == (1 <= later_h <= 25)
                by.add(row.get(schema.ANSWERED_BY))
                differs += row.get(schema.MODEL_PREDICTION, row[schema.PREDICTION]) != row[schema.PREDICTION]
    assert None in by
    assert by & set(names_of(info)[1:])
    assert differs > 0


def test_without_a_gate_that_counts_answers_are_as_without_any(fleet: tuple[Settings, Info], tmp_path: Path) -> None:
    settings, info = fleet
    path = tmp_path / "gate.json"
    path.write_bytes(random_gate(info, NEWEST, VALID_UNTIL, SERVERS, 1).encoded())
    plain, gated = (application(settings, info, gate).test_client() for gate in (None, path))
    query = {"server": SERVERS[0], "from": "2016-06-14 00:00:00"}
    assert gated.get("/forecast", query_string=query).data == plain.get("/forecast", query_string=query).data
    document = plain.get("/openapi.json").json
    assert "answeredBy" not in json.dumps(document)
    body = gated.get("/forecast", query_string={**query, "from": "2016-06-12 10:00:00"}).json
    assert not jsonschema_rs.is_valid({**document, "$ref": "#/components/schemas/Forecast"}, body)


def test_a_gate_that_is_stale_for_the_next_hours_is_warned_of_once(
    classic: tuple[Settings, Info], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, info = classic
    path = tmp_path / "gate.json"
    path.write_bytes(gate_for(info, NEWEST, {}).encoded())
    client = application(settings, info, path).test_client()
    caplog.set_level(logging.WARNING, "loadcast")
    for more in ({"from": "2016-06-01 00:00:00"}, {"from": "2016-06-20 00:00:00"}):
        client.get("/forecast", query_string={"server": SERVERS[0], **more})
    assert not caplog.records  # of other hours somebody may ask at any time
    for server in (*SERVERS[:2], *SERVERS[:2]):
        body = client.get("/forecast", query_string={"server": server}).json
        assert "answeredBy" not in body["hours"][0]
    (warning,) = caplog.records
    assert "The gate is stale, and does not count: the model answers." in warning.getMessage()


def test_counts_say_which_gate_is_in_use_and_since_when(classic: tuple[Settings, Info], tmp_path: Path) -> None:
    settings, info = classic
    path = tmp_path / "gate.json"
    path.write_bytes(random_gate(info, NEWEST, VALID_UNTIL, SERVERS, 0).encoded())
    client = application(settings, info, path).test_client()
    body = client.get("/forecast", query_string={"server": SERVERS[0], "from": "2016-06-12 10:00:00"}).json
    text, page = client.get("/metrics").text, (ROOT / "Docs" / "API.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `(loadcast_gate_\w+)` \|", page, re.MULTILINE))
    assert described == set(re.findall(r"^# TYPE (loadcast_gate_\S+) ", text, re.MULTILINE))
    told = dict(re.findall(r"^(loadcast_(?:gate|answers)\S+) (\S+)$", text, re.MULTILINE))
    assert told.pop("loadcast_gate_refused") == "0.0"
    assert told.pop(f'loadcast_gate_info{{model="{info.model_version}",run="run"}}') == "1.0"
    assert float(told.pop("loadcast_gate_written_timestamp_seconds")) == pytest.approx(path.stat().st_mtime)
    newest = (NEWEST - datetime(1970, 1, 1)) / timedelta(seconds=1)
    assert float(told.pop("loadcast_gate_newest_hour_timestamp_seconds")) == newest
    # What was answered, and not what the model said.
    answered = [hour["label"] for hour in body["hours"]]
    for label in schema.CLASS_NAMES.values():
        assert float(told[f'loadcast_answers_total{{label="{label}"}}']) == answered.count(label)
    path.write_bytes(path.read_bytes().replace(b'"run"', b'"\\ud800\\n\\u0000' + b"x" * 1_000 + b'"'))
    strange = application(settings, info, path).test_client().get("/metrics")
    assert (strange.status_code, r'run="\\ud800' in strange.text, "x" * 100 in strange.text) == (200, True, False)
    assert "loadcast_gate" not in application(settings, info, None).test_client().get("/metrics").text
    none = create_app(None, keys=None, name="x", forecast_gate=LiveGate(path)).test_client()
    assert none.get("/metrics").status_code == 200


# --- the start --------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "Model", random_features(100))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"{", "cannot be read: it is not JSON"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"formatVersion": 9}', "its formatVersion is 9"),
    ],
)
def test_a_file_without_a_gate_is_an_error_at_the_start(
    bundle: Path, tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "gate.json"
    if content is not None:
        path.write_bytes(content)
    words = ["serve", "--model", str(bundle), "--statistics", str(tmp_path), "--gate", str(path), "--port", "0"]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (ArtefactError.exit_code, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_gate_wants_statistics(bundle: Path) -> None:
    result = CliRunner().invoke(main, ["serve", "--model", str(bundle), "--gate", "gate.json"])
    assert (result.exit_code, "--statistics" in result.stderr) == (2, True)


# --- the client's gate, and the service's model -----------------------------------------------------------------------
class OtherModel(HourPredictor):
    """The predictor of a service, with an `info` of its own."""

    def __init__(self, info: Info) -> None:
        super().__init__()
        self.info = info


@pytest.mark.parametrize("path", ["", "/score", "/api/v1/service/loadcast/score"])
def test_a_service_with_another_model_than_the_gate_s_is_refused(
    classic: tuple[Settings, Info], tmp_path: Path, path: str
) -> None:
    settings, info = classic
    gate = tmp_path / "gate.json"
    gate.write_bytes(gate_for(info, NEWEST, {}, validUntil=str(VALID_UNTIL)).encoded())
    begin = NEWEST + timedelta(hours=1)
    for served_info, is_right in ((info, True), (info_of("classic", files={"mlModel/x": "1" * 64}), False)):
        with served(create_app(OtherModel(served_info), keys=None, name="loadcast")) as url:
            if is_right:
                table = loadcast.gated_forecast(settings, gate, SERVERS[:1], begin, url=f"{url}{path}")
                assert schema.ANSWERED_BY in table.schema.names
            else:
                with pytest.raises(ArtefactError, match=r"The service answers with the model \w+, and the gate is of"):
                    loadcast.gated_forecast(settings, gate, SERVERS[:1], begin, url=f"{url}{path}")
                config = tmp_path / "config.json"
                config.write_text(settings.model_dump_json(by_alias=True, exclude_none=True))
                words = ["score", config, "--gate", gate, "--url", f"{url}{path}", "--from", begin]
                result = CliRunner().invoke(main, list(map(str, words)))
                assert result.exit_code == ArtefactError.exit_code, result.stderr
                assert "loadcast serve --watch" in result.stderr


def test_a_service_that_does_not_name_its_model_is_taken_for_the_gate_s(
    classic: tuple[Settings, Info], tmp_path: Path
) -> None:
    settings, info = classic
    gate = tmp_path / "gate.json"
    gate.write_bytes(gate_for(info, NEWEST, {}, validUntil=str(VALID_UNTIL)).encoded())
    with fake_service(lambda _number, body: right(body)) as service:
        table = loadcast.gated_forecast(settings, gate, SERVERS[:1], NEWEST + timedelta(hours=1), url=service.url)
    assert set(table.column(schema.ANSWERED_BY).to_pylist()) == {"model"}
