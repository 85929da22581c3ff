"""What the service says beside classes: its document, page and counts; and odd requests. About 6 s."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from bundles import random_features, records
from loadcast import schema
from loadcast.kernels.features import CLASSIC
from loadcast.serving import docs_page
from loadcast.serving.app import create_app
from loadcast.serving.exchange import Exchange
from loadcast.serving.front.message import DRAINING
from loadcast.serving.front.replies import refusal
from loadcast.serving.keys import Keys
from loadcast.serving.metrics import DURATIONS_S, Metrics
from loadcast.serving.openapi.schemas import TIME_PATTERN, example_record
from loadcast.serving.predictor import Predictor
from loadcast.serving.problems import KINDS, PROBLEM_JSON
from loadcast.serving.request_contract import RequestContract, hour_text
from published import BrokenPredictor, HourPredictor
from spark_layouts import SAMPLE, as_sample_client, write_layout

ROOT = Path(__file__).parents[2]
BATCH = records(random_features(3, seed=9, servers=("10.0.0.1", "192.0.2.1")))


def service(**more: Any) -> Flask:
    return create_app(HourPredictor(), **{"keys": None, "name": "loadcast", **more})


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return service().test_client()


# --- the document ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [None, Keys.parse(b"k", "keys")])
@pytest.mark.parametrize("predictor", [None, HourPredictor()])
def test_the_document_is_openapi(predictor: HourPredictor | None, keys: Keys | None) -> None:
    client = create_app(predictor, keys=keys, name="loadcast").test_client()
    document = client.get("/openapi.json", headers={"Authorization": "Bearer k"}).json
    OPENAPI_31_VALIDATOR.validate(document)
    for part in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **part})
    assert document["security"][0] == ({"bearer": []} if keys else {})


def test_the_document_has_every_route_and_its_routes_exist(client: FlaskClient) -> None:
    app = client.application
    rules = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method) for rule in app.url_map.iter_rules() for method in rule.methods
    }
    document = client.get("/openapi.json").json
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert {(path, method) for path, method in rules if method != "HEAD"} == described
    assert [f"{method} {path}" for path, method in sorted(described)] == sorted(
        client.get("/").json["routes"], key=lambda route: route.split()[::-1]
    )
    for methods in document["paths"].values():
        for operation in methods.values():
            wanted = {"200", "400", "401", "405", "408", "413", "429", "431", "500", "503"}
            assert wanted <= operation["responses"].keys()


def test_the_documentation_has_every_route_problem_and_count(client: FlaskClient) -> None:
    text = (ROOT / "Docs" / "API.md").read_text(encoding="utf-8")
    section = text.partition("## Routes")[2].partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert sorted(re.findall(r"`((?:GET|POST) /\S*)`", table)) == sorted(client.get("/").json["routes"])
    kinds = re.findall(r"^\| (\d+) \| `/problems/(\S+)` \|", text, re.MULTILINE)
    assert sorted(kinds) == sorted((str(kind.status), kind.name) for kind in KINDS.values())
    told = set(re.findall(r"^# TYPE (\S+) ", client.get("/metrics").text, re.MULTILINE))
    assert set(re.findall(r"^\| `(loadcast_(?!gate_)\w+)` \|", text, re.MULTILINE)) == told


def test_the_public_sample_s_bundle_describes_its_own_spelling(tmp_path: Path) -> None:
    training = random_features(200)
    predictor = Predictor.load(write_layout(tmp_path / "bundle", training, SAMPLE, seed=1).folder)
    client = create_app(predictor, keys=None, name="loadcast").test_client()
    document = client.get("/openapi.json").json
    OPENAPI_31_VALIDATOR.validate(document)
    batch = jsonschema_rs.validator_for({**document, "$ref": "#/components/schemas/Batch"})
    plain = records(training.slice(0, 2))
    theirs = [as_sample_client(record) for record in plain]
    assert plain != theirs
    for body in (plain, theirs, json.dumps(theirs), [{**theirs[0], schema.HOUR: 1467331200000}]):
        batch.validate(body)
        assert client.post("/score", json=body).status_code == 200
    assert not batch.is_valid([{**theirs[0], "dayofweek": "Doomsday"}])
    assert client.post("/score", json=[{**theirs[0], "dayofweek": "Doomsday"}]).status_code == 400
    (version,) = client.get("/v2/models/loadcast").json["versions"]
    assert re.fullmatch("[0-9a-f]{16}", version)


@pytest.mark.parametrize("status", sorted({kind.status for kind in KINDS.values()}))
def test_what_the_front_refuses_stands_in_the_document(client: FlaskClient, status: int) -> None:
    document = client.get("/openapi.json").json
    problem = jsonschema_rs.validator_for({**document, "$ref": "#/components/schemas/Problem"})
    line, headers, body = refusal(status, "Why.")
    assert (line[:3], dict(headers)["Content-Type"]) == (str(status), PROBLEM_JSON)
    problem.validate(json.loads(body))


def test_the_example_is_one_that_is_answered(client: FlaskClient) -> None:
    paths = client.get("/openapi.json").json["paths"]
    for path in ("/score", "/v2/models/{model}/infer"):
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path.replace("{model}", "loadcast"), json=example).status_code == 200
    assert RequestContract(CLASSIC).read_records([example_record(RequestContract(CLASSIC))]).num_rows == 1


@given(
    st.from_regex(
        re.compile(r"[0-2]?[0-9]{1,4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9]"), fullmatch=True
    )
)
def test_the_document_s_times_are_those_that_exist(text: str) -> None:
    assert (re.fullmatch(TIME_PATTERN, text) is not None) == (hour_text(text) is not None)


@pytest.mark.parametrize("day", ["2016-02-29", "2015-02-29", "1900-02-29", "2000-02-29", "0000-01-01", "2016-04-31"])
def test_so_are_its_leap_days(day: str) -> None:
    text = f"{day} 00:00:00"
    assert (re.fullmatch(TIME_PATTERN, text) is not None) == (hour_text(text) is not None)


def test_every_kind_of_problem_is_described(client: FlaskClient) -> None:
    for kind in KINDS.values():
        about = client.get(f"/problems/{kind.name}").json
        assert (about["status"], about["title"]) == (kind.status, kind.title)
    assert client.get("/problems/other").status_code == 404


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_needs_no_key_and_may_run_nothing_but_its_own(client: FlaskClient) -> None:
    answer = service(keys=Keys.parse(b"k", "keys")).test_client().get("/docs")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    # Nothing from elsewhere, no way for a text to become markup, and no style or handler that the policy would stop.
    unwanted = r"https?://|//cdn|innerHTML|insertAdjacent|document\.write| style=| on\w+=|eval\("
    assert not re.search(unwanted, answer.text)
    assert docs_page.page() == answer.data


# --- counts ---------------------------------------------------------------------------------------------------------


def counts(client: FlaskClient) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics")
    assert answer.mimetype == "text/plain"
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_requests_classes_and_batches_are_counted() -> None:
    client = service().test_client()
    client.post("/score", json=BATCH)
    client.post("/api/v1/service/loadcast/score", json=BATCH * 20)
    client.post("/score", json=[{}])
    client.get("/nothing")
    seen = counts(client)
    assert seen["loadcast_requests_total", "/score", "200"] == 1
    assert seen["loadcast_requests_total", "/score", "400"] == 1
    assert seen["loadcast_requests_total", "/api/v1/service/<service>/score", "200"] == 1
    assert seen["loadcast_requests_total", "none", "404"] == 1
    assert seen["loadcast_errors_total", "4xx"] == 2
    assert seen["loadcast_batch_records_count",] == 2
    assert seen["loadcast_batch_records_sum",] == 63
    assert seen["loadcast_batch_records_bucket", "12.0"] == 1
    assert sum(value for (name, *_), value in seen.items() if name == "loadcast_answers_total") == 63
    assert seen["loadcast_cold_starts_total",] == 21 * sum(record["ServerIP"].startswith("10.") for record in BATCH)
    assert seen["loadcast_request_duration_seconds_count", "/score"] == 2
    (info,) = [labels for labels in seen if labels[0] == "loadcast_model_info"]
    assert "loadcast" in info
    assert "classic 1" in info


def test_failures_are_counted() -> None:
    client = create_app(BrokenPredictor(), keys=None, name="loadcast").test_client()
    client.post("/score", json=BATCH)
    assert counts(client)["loadcast_errors_total", "5xx"] == 1


def test_the_counts_of_all_processes_are_added_and_outlive_them() -> None:
    metrics = Metrics(["/score"])
    exchange = Exchange("POST", "/score", "id", route="/score")
    metrics.count(exchange, 200, 0.5)
    at = metrics.layout.requests["/score"][200]
    for _ in range(2):
        children = []
        for _ in range(3):
            if not (child := os.fork()):
                for _ in range(1_000):
                    metrics.count(exchange, 200, 0.25)
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
    assert metrics.totals()[at] == 6_001
    durations = metrics.layout.durations["/score"]
    assert metrics.totals()[durations : durations + len(DURATIONS_S) + 1].sum() == 6_001
    assert metrics.totals()[durations + len(DURATIONS_S) + 1] == 0.5 + 6_000 * 0.25
    # A row that nobody writes any more is written on, so there is no end of them.
    rows = np.frombuffer(metrics._memory, dtype=np.float64).reshape(-1, metrics.layout.width)
    assert np.count_nonzero(rows[:, 0]) <= 4


# --- odd requests ---------------------------------------------------------------------------------------------------


def asked(app: Flask, **environ: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request by its WSGI variables."""
    whole = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(environ.pop("body", b"")),
        "wsgi.input_terminated": True,
        **environ,
    }
    started: list[Any] = []
    body = b"".join(app.wsgi_app(whole, lambda *answer: started.append(answer)))
    ((status, headers),) = [answer[:2] for answer in started]
    return int(status[:3]), dict(headers), body


HOSTS = {"HTTP_HOST": "evil.example", "HTTP_X_FORWARDED_HOST": "evil.example", "HTTP_FORWARDED": "host=evil.example"}
PATHS = (
    "/",
    "/score",
    "/health/live/",
    "//evil.example",
    "//score",
    "/v2",
    "*",
    "",
    "http://evil.example/",
    "/..",
    "/%",
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PATCH", "CONNECT", "BREW", "get", "")


@given(
    st.sampled_from(METHODS),
    st.sampled_from(PATHS) | st.text(st.characters(max_codepoint=255)),
    st.sampled_from([{}, HOSTS, {"HTTP_HOST": "\xe9 [:"}, {"SCRIPT_NAME": "/evil"}, {"SCRIPT_NAME": "evil.example"}]),
)
def test_odd_requests_get_problems_and_never_lead_elsewhere(method: str, path: str, more: dict[str, str]) -> None:
    status, headers, body = asked(APP, REQUEST_METHOD=method, PATH_INFO=path, **more)
    assert status in (200, 400, 404, 405, 415)
    assert "Location" not in headers
    assert b"evil" not in body or "evil" in path
    assert headers["Content-Type"] in ("application/json", PROBLEM_JSON, "text/html; charset=utf-8")
    assert (headers["Content-Type"] == PROBLEM_JSON) == (status >= 400)
    assert headers["X-Request-ID"]
    assert (body == b"") == (method == "HEAD")
    assert path.startswith("//") <= (status == 404)


APP = service()


def test_options_and_head_are_answered_too() -> None:
    status, headers, body = asked(APP, REQUEST_METHOD="OPTIONS", PATH_INFO="/score")
    assert (status, headers["Allow"], headers["Content-Type"]) == (405, "POST", PROBLEM_JSON)
    status, headers, body = asked(APP, REQUEST_METHOD="HEAD", PATH_INFO="/health/live")
    assert (status, int(headers["Content-Length"]), body) == (200, len(asked(APP, PATH_INFO="/health/live")[2]), b"")


@pytest.mark.parametrize("length", ["10", "", "-1", "x", "9" * 30, "²"])
def test_a_body_that_is_shorter_or_of_no_length_is_no_failure(length: str) -> None:
    more = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": length}
    status, headers, _ = asked(APP, REQUEST_METHOD="POST", PATH_INFO="/score", body=b"[]", **more)
    # A front that ends bodies itself needs no length.
    assert status in (200, 400, 413)
    assert headers["Content-Type"] in ("application/json", PROBLEM_JSON)


def test_an_ending_service_is_not_ready_any_more() -> None:
    for path in ("/health/ready", "/v2/health/ready"):
        assert asked(APP, PATH_INFO=path)[0] == 200
        assert asked(APP, PATH_INFO=path, **{DRAINING: True})[0] == 503


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_the_short_way_and_the_long_way_answer_the_same(content_type: str) -> None:
    client = service().test_client()
    for batch in (BATCH, [], [{}], {"a": 1}):
        answers = [
            client.post("/score", json=batch, headers={"Content-Type": kind, "X-Request-ID": "one"})
            for kind in ("application/json", content_type)
        ]
        first, second = [(a.status_code, a.data, sorted(a.headers.items())) for a in answers]
        assert first == second


def test_a_new_model_answers_from_the_next_request_on() -> None:
    app = create_app(None, keys=None, name="loadcast")
    client = app.test_client()
    assert client.get("/health/ready").status_code == 503
    app.extensions["loadcast"].use(HourPredictor())
    assert client.get("/health/ready").status_code == 200
    assert client.post("/score", json=BATCH).status_code == 200
