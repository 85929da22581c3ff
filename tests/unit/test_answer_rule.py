"""What answers say where a bundle has costs, minConfidence or learned bounds: service, client, tables and pictures."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import numpy as np
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from rich.console import Console
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

import loadcast
import old_run
from bundles import random_features, records, write_bundle
from fake_scoring import record
from loadcast import paths, schema
from loadcast.errors import ServiceError
from loadcast.kernels.labels import FLEET, SERVER, Bounds, LabelRule
from loadcast.report.forecast import Picture, as_json, render, save_svg, tables
from loadcast.report.forecast_files import encode
from loadcast.serving.app import create_app
from loadcast.serving.predictor import Predictor
from loadcast.serving.remote.answers import (
    HourForecast,
    ServerForecast,
    by_server,
    check_answers,
    forecast_table,
    with_bounds,
)
from published import answer_to, running_service

COSTS = [[0, 1, 2.5], [3, 0, 1], [10, 4, 0]]
OWN, COMMON = {"low": 20.0, "high": 30.0, "source": "server"}, {"low": 100.5, "high": 500.0, "source": "fleet"}
LABELS = {"rule": "perServer", "common": COMMON, "servers": {"10.0.0.1": OWN}}
BATCH = records(random_features(60, seed=9, servers=("10.0.0.1", "192.0.2.1")))
FURTHER = ["decision", "expectedCost", "confident", "bounds"]
INFER = "/v2/models/loadcast/infer"
RULE = {"costs": COSTS, "minConfidence": 0.4, "labels": LABELS}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("answers") / "plain", random_features(300))


def bundle(plain: Path, folder: Path, **fields: Any) -> Path:
    """The bundle with other entries in its `info`."""
    shutil.copytree(plain, folder)
    info = json.loads((plain / paths.INFO).read_text())
    (folder / paths.INFO).write_text(json.dumps({**info, "formatVersion": 3, **fields}))
    return folder


@pytest.fixture(scope="module")
def ruled(plain: Path) -> Path:
    return bundle(plain, plain.parent / "ruled", **RULE)


def client_of(folder: Path) -> FlaskClient:
    return create_app(Predictor.load(folder), keys=None, name="loadcast").test_client()


@pytest.fixture(scope="module")
def client(ruled: Path) -> FlaskClient:
    return client_of(ruled)


# --- the service ----------------------------------------------------------------------------------------------------


def test_answers_say_decision_confidence_and_bounds(plain: Path, client: FlaskClient) -> None:
    answers = client.post("/score", json=BATCH).json
    as_before = client_of(plain).post("/score", json=BATCH).json
    for key, answer in answers.items():
        assert list(answer)[6:] == FURTHER
        assert {name: answer[name] for name in list(answer)[:6]} == as_before[key]
        shares = list(answer["probability"].values())
        costs = [sum(share * row[forecast] for share, row in zip(shares, COSTS, strict=True)) for forecast in range(3)]
        assert answer["decision"] == 1 + costs.index(min(costs))
        assert answer["expectedCost"] == min(costs)
        assert answer["confident"] == (max(shares) >= 0.4)
        assert answer["bounds"] == (OWN if answer["ServerIP"] == "10.0.0.1" else COMMON)
    for name in ("decision", "confident"):
        assert len({answer[name] for answer in answers.values()}) > 1, name
    assert any(answer["decision"] != answer["prediction"] for answer in answers.values())
    assert client.post("/score", json=[]).json == {}


@pytest.mark.parametrize(
    ("fields", "further"),
    [
        ({}, []),
        ({"costs": COSTS}, FURTHER[:2]),
        ({"minConfidence": 1}, FURTHER[2:3]),
        ({"labels": {**LABELS, "rule": "quantile", "servers": {}}}, FURTHER[3:]),
        ({"labels": {**LABELS, "rule": "absolute", "servers": {}}}, []),
    ],
)
def test_an_answer_says_what_its_bundle_has_and_no_more(
    plain: Path, tmp_path: Path, fields: dict[str, Any], further: list[str]
) -> None:
    client = client_of(bundle(plain, tmp_path / "bundle", **fields))
    answer = client.post("/score", json=BATCH[:1]).json["0"]
    assert list(answer)[6:] == further
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    assert list(schemas["Answer"]["properties"]) == list(answer)


def test_the_answers_in_columns_are_the_same(client: FlaskClient) -> None:
    answers = list(client.post("/score", json=BATCH).json.values())
    names = client.get("/v2/models/loadcast").json["inputs"]
    inputs = [{**tensor, "shape": [len(BATCH)], "data": [item[tensor["name"]] for item in BATCH]} for tensor in names]
    given = {tensor["name"]: tensor for tensor in client.post(INFER, json={"inputs": inputs}).json["outputs"]}
    for name in FURTHER[:3]:
        assert given[name]["data"] == [answer[name] for answer in answers]
    assert given["lowThreshold"]["data"] == [answer["bounds"]["low"] for answer in answers]
    assert given["highThreshold"]["data"] == [answer["bounds"]["high"] for answer in answers]
    described = {tensor["name"]: tensor["datatype"] for tensor in client.get("/v2/models/loadcast").json["outputs"]}
    assert {name: tensor["datatype"] for name, tensor in given.items()} == described
    chosen = client.post(INFER, json={"inputs": inputs, "outputs": [{"name": "confident"}]}).json["outputs"]
    assert [tensor["name"] for tensor in chosen] == ["confident"]


def test_the_document_describes_what_is_answered(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    OPENAPI_31_VALIDATOR.validate(document)
    answers = jsonschema_rs.validator_for({**document, "$ref": "#/components/schemas/Answers"})
    body = client.post("/score", json=BATCH).json
    answers.validate(body)
    assert not answers.is_valid({"0": {**body["0"], "bounds": {"low": 1}}})


def test_a_bundle_s_rule_is_no_part_of_an_output_that_another_has(plain: Path) -> None:
    client = client_of(plain)
    names = client.get("/v2/models/loadcast").json["inputs"]
    inputs = [{**tensor, "shape": [1], "data": [BATCH[0][tensor["name"]]]} for tensor in names]
    refused = client.post(INFER, json={"inputs": inputs, "outputs": [{"name": "decision"}]})
    assert refused.status_code == 400
    assert refused.json["problems"][0]["field"] == "outputs[0].name"


def test_a_server_s_forecast_names_its_bounds_once(tmp_path: Path) -> None:
    old_run.copied(tmp_path)
    output = tmp_path / "output"
    client = create_app(Predictor.load(output), keys=None, name="loadcast", statistics=output).test_client()
    body = client.get("/forecast", query_string={"server": old_run.SERVERS[0]}).json
    document = client.get("/openapi.json").json
    jsonschema_rs.validator_for({**document, "$ref": "#/components/schemas/Forecast"}).validate(body)
    rule = loadcast.load_model(output).info.label_rule.common
    assert body["bounds"] == {"low": rule.low, "high": rule.high, "source": "configured"}
    assert "bounds" not in body["hours"][0]


def test_bounds_of_a_server_s_own_stand_once_beside_the_hours(tmp_path: Path) -> None:
    old_run.copied(tmp_path)
    output, server = tmp_path / "output", old_run.SERVERS[0]
    with_rule(output, server)
    client = create_app(Predictor.load(output), keys=None, name="loadcast", statistics=output).test_client()
    body = client.get("/forecast", query_string={"server": server}).json
    document = client.get("/openapi.json").json
    jsonschema_rs.validator_for({**document, "$ref": "#/components/schemas/Forecast"}).validate(body)
    assert body["bounds"] == {"low": 20.0, "high": 30.0, "source": "server"}
    assert list(body["hours"][0])[6:] == FURTHER[:3]


def with_rule(output: Path, server: str) -> None:
    """Give an output's model the rule, and a server bounds of its own."""
    path = (output / paths.MODEL).resolve() / paths.INFO
    labels = {**LABELS, "servers": {server: OWN}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **RULE, "labels": labels}))


# --- the client -----------------------------------------------------------------------------------------------------

WHOLE = {"decision": 2, "expectedCost": 0.5, "confident": False, "bounds": {"low": 1, "high": 2.5, "source": "fleet"}}


def taken(**fields: Any) -> HourForecast:
    (hour,) = check_answers(json.dumps({"0": answer_to(record()) | fields}).encode(), [record()])
    return hour


def test_the_client_takes_what_the_service_says(client: FlaskClient) -> None:
    hours = check_answers(client.post("/score", json=BATCH).data, BATCH)
    for hour, answer in zip(hours, client.post("/score", json=BATCH).json.values(), strict=True):
        assert (hour.decision, hour.expected_cost, hour.confident) == tuple(answer[name] for name in FURTHER[:3])
        assert hour.bounds == Bounds(**answer["bounds"])
    assert taken(**WHOLE).bounds == Bounds(1.0, 2.5, FLEET)
    assert (taken().decision, taken().expected_cost, taken().confident, taken().bounds) == (None,) * 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("decision", value) for value in (None, 0, 4, 1.5, "1", True, [1])),
        *(("expectedCost", value) for value in (None, -1, "1", True, float("nan"), float("inf"), 10**400)),
        *(("confident", value) for value in (None, 0, 1, "false", [])),
        *(("bounds", value) for value in (None, [], {}, "x", {"low": 1, "high": 2}, {**WHOLE["bounds"], "low": 3})),
        *(("bounds", {**WHOLE["bounds"], "high": value}) for value in ("2", None, True, float("nan"), 10**400)),
        *(("bounds", {**WHOLE["bounds"], "source": value}) for value in ("\x1b[2J", None, [], 1)),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_an_answer_says_wrongly_is_refused_and_named(field: str, value: Any) -> None:
    with pytest.raises(ServiceError) as caught:
        taken(**{**WHOLE, field: value})
    assert str(caught.value).startswith(f"The service's answer to record 0: {field}: found ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("left_out", ["decision", "expectedCost"])
def test_a_decision_comes_with_its_cost(left_out: str) -> None:
    with pytest.raises(ServiceError, match=f"{left_out}: found None"):
        taken(**{name: value for name, value in WHOLE.items() if name != left_out})


# --- tables and pictures --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forecasts(client: FlaskClient) -> list[ServerForecast]:
    batch = sorted(BATCH, key=lambda item: (item[schema.SERVER], item[schema.HOUR]))
    return by_server(check_answers(client.post("/score", json=batch).data, batch))


def printed(*forecasts: ServerForecast, with_tables: bool = True, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=file, width=100)
    picture = Picture([ServerForecast(one.server, one.hours[:20]) for one in forecasts], "UTC", with_tables)
    console.print(render(picture, console), soft_wrap=True, highlight=False)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


def test_a_table_has_bounds_always_and_decisions_where_there_are_any(forecasts: list[ServerForecast]) -> None:
    hours = [hour for forecast in forecasts for hour in forecast.hours]
    table = forecast_table(hours)
    assert table.schema.names == [*schema.FORECAST_SCHEMA.names, *schema.DECISION_SCHEMA.names]
    assert table.column("decision").to_pylist() == [hour.decision for hour in hours]
    assert table.column("lowThreshold").to_pylist() == [20.0 if "10." in hour.server else 100.5 for hour in hours]
    bare = forecast_table(with_bounds([taken()], LabelRule.absolute(1.0, 2.0)))
    assert bare.schema == schema.FORECAST_SCHEMA
    assert bare.select(["lowThreshold", "highThreshold"]).to_pylist() == [{"lowThreshold": 1.0, "highThreshold": 2.0}]
    assert forecast_table([taken()]).column("lowThreshold").to_pylist() == [None]
    assert next(with_bounds([taken(**WHOLE)], LabelRule.absolute(7, 8))).bounds == Bounds(1.0, 2.5, FLEET)


def test_every_form_has_them(forecasts: list[ServerForecast]) -> None:
    picture = Picture(forecasts, "UTC", False)
    table = forecast_table(hour for forecast in forecasts for hour in forecast.hours)
    assert pq.read_table(io.BytesIO(encode(picture, "parquet"))).equals(table)
    head, first, *_ = encode(picture, "csv").decode().splitlines()
    assert head.endswith("cold_start,lowThreshold,highThreshold,decision,expectedCost,confident")
    assert first.count(",") == head.count(",")
    data = json.loads(as_json(picture))["forecasts"]
    assert data[0]["bounds"] == {"low": 20.0, "high": 30.0, "source": "server"}
    assert list(data[1]["hours"][0])[-3:] == FURTHER[:3]


def test_the_picture_shows_decisions_missing_forecasts_and_each_server_s_bounds(
    forecasts: list[ServerForecast],
) -> None:
    lines = printed(*forecasts).splitlines()
    own, fleet = (next(line for line in lines if line.startswith(f"{one.server} ")) for one in forecasts)
    assert own.endswith("  20 / 30")
    assert fleet.endswith("  100.5 / 500 (fleet)")
    assert own.count("?") == sum(hour.confident is False for hour in forecasts[0].hours[:20])
    assert sum(line.startswith("  by cost ") for line in lines) == 2
    assert "?: no forecast, as it would be less sure than minConfidence" in lines
    assert "Behind each line: up to the first number is low, above the second is high." in lines
    assert lines[-1] == "by cost: the class of least expected cost"
    assert any("bounds 20 / 30" in line and "bounds 100.5 / 500 (fleet)" in line for line in lines)
    assert max(map(len, lines)) <= 100
    assert "?" in printed(*forecasts, encoding="ascii")


def test_bounds_that_all_servers_share_stand_in_the_legend(forecasts: list[ServerForecast]) -> None:
    lines = printed(forecasts[1]).splitlines()
    assert any("▁ low (up to 100.5)    ▄ medium    █ high (above 500)" in line for line in lines)
    assert "The bounds are those of the whole fleet." in lines
    own = printed(forecasts[0])
    assert "low (up to 20)" in own
    assert "fleet" not in own


def test_an_svg_is_as_wide_as_its_longest_line(forecasts: list[ServerForecast], tmp_path: Path) -> None:
    long = "2001:db8:1111:2222:3333:4444:5555:6666"
    picture = Picture([replace(one, server=long, hours=one.hours[:25] * 2) for one in forecasts], "UTC", False)
    save_svg(picture, tmp_path / "wide.svg")
    save_svg(Picture(forecasts, "UTC", False), tmp_path / "plain.svg")
    wide, plain = (ElementTree.parse(tmp_path / f"{name}.svg").getroot().get("viewBox") for name in ("wide", "plain"))
    assert float(str(wide).split()[2]) > float(str(plain).split()[2])


def test_as_many_servers_stand_beside_each_other_as_have_room(forecasts: list[ServerForecast]) -> None:
    bare = [ServerForecast(f"10.0.0.{number}", (taken(),)) for number in range(5)]
    assert [len(table.columns) - 1 for table in tables(bare, 80)] == [2, 2, 1]
    decided = [ServerForecast(one.server, (taken(**WHOLE),)) for one in bare]
    assert [len(table.columns) - 1 for table in tables(decided, 80)] == [1] * 5


# --- from Python ----------------------------------------------------------------------------------------------------


def test_a_forecast_here_and_by_a_service_say_the_same(tmp_path: Path) -> None:
    settings = old_run.copied(tmp_path)
    first, second = old_run.SERVERS[:2]
    with_rule(tmp_path / "output", first)
    here = loadcast.forecast(settings, servers=[first, second])
    assert here.schema.names[-3:] == FURTHER[:3]
    lows = dict(zip(here.column(schema.SERVER).to_pylist(), here.column("lowThreshold").to_pylist(), strict=True))
    assert lows == {first: 20.0, second: 100.5}
    with running_service(Predictor.load(tmp_path / "output")) as url:  # type: ignore[arg-type]
        assert loadcast.forecast(settings, servers=[first, second], url=url).equals(here)
    assert set(np.unique(here.column("confident").to_numpy(zero_copy_only=False))) <= {True, False}


def test_sources_of_bounds_are_those_that_the_kernel_has() -> None:
    assert taken(bounds={"low": 1, "high": 1, "source": SERVER}).bounds == Bounds(1.0, 1.0, SERVER)
