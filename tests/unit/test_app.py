"""The service: routes, statuses, keys, and the same over a real port."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from bundles import random_features, records, write_bundle
from feature_docs import request_rows
from loadcast import schema
from loadcast.errors import ArtefactError, ConfigError, RequestError
from loadcast.kernels.features import CLASSIC
from loadcast.serving import api, request_contract
from loadcast.serving.app import create_app
from loadcast.serving.column_request import OUTPUTS
from loadcast.serving.keys import Keys
from loadcast.serving.predictor import Predictor
from loadcast.serving.problems import PROBLEM_JSON
from loadcast.serving.request_contract import RequestContract
from published import BrokenPredictor

ROOT = Path(__file__).parents[2]
ROWS = random_features(300)
BATCH = records(random_features(3, seed=9, servers=("10.0.0.1", "192.0.2.1")))
KEY = "s3cret-key"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("app") / "bundle", ROWS)


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return Predictor.load(bundle)


@pytest.fixture(scope="module")
def client(predictor: Predictor) -> FlaskClient:
    return create_app(predictor, keys=None, name="loadcast").test_client()


@pytest.fixture(scope="module")
def guarded(predictor: Predictor) -> FlaskClient:
    return create_app(predictor, keys=Keys.parse(KEY.encode(), "key"), name="loadcast").test_client()


def test_each_record_gets_an_answer_in_order(client: FlaskClient, predictor: Predictor) -> None:
    answer = client.post("/score", json=BATCH)
    assert answer.status_code == 200
    assert list(answer.json) == ["0", "1", "2"]
    for number, record in enumerate(BATCH):
        given = answer.json[str(number)]
        assert list(given) == ["ServerIP", "SessionStartHourTime", "prediction", "label", "probability", "cold_start"]
        assert given["ServerIP"] == record["ServerIP"]
        assert given["SessionStartHourTime"] == record["SessionStartHourTime"]
        assert given["label"] == schema.CLASS_NAMES[given["prediction"]]
        assert list(given["probability"]) == ["low", "medium", "high"]
        assert given["probability"][given["label"]] == max(given["probability"].values())
        assert sum(given["probability"].values()) == pytest.approx(1.0, abs=1e-12)


def test_unseen_servers_are_answered_and_flagged(client: FlaskClient) -> None:
    answers = client.post("/score", json=BATCH).json.values()
    assert {(a["ServerIP"], a["cold_start"]) for a in answers} == {("10.0.0.1", False), ("192.0.2.1", True)}


def test_the_route_with_the_service_s_name_answers_the_same(client: FlaskClient) -> None:
    named = client.post("/api/v1/service/loadcast/score", json=BATCH)
    assert (named.status_code, named.json) == (200, client.post("/score", json=BATCH).json)


def test_an_empty_batch_has_an_empty_answer(client: FlaskClient) -> None:
    answer = client.post("/score", json=[])
    assert (answer.status_code, answer.json) == (200, {})


def test_a_bad_batch_is_400_with_every_fault(client: FlaskClient) -> None:
    bad = [BATCH[0], {**BATCH[1], "peakLoadLag48": "abc"}, {**BATCH[2], "month": 13}]
    answer = client.post("/score", json=bad)
    assert answer.status_code == 400
    assert answer.json["error"]["problem_count"] == 2
    assert answer.json["error"]["problems"] == [
        {"record": 1, "field": "peakLoadLag48", "found": "abc", "wanted": "a finite number"},
        {"record": 2, "field": "month", "found": "13", "wanted": "an integer from 1 to 12"},
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/service/other/score", 404),
        ("GET", "/nothing", 404),
        ("POST", "/score/", 404),
        ("GET", "/static/x", 404),
        ("POST", "/%2Fscore", 404),
        ("GET", "/score", 405),
        ("PUT", "/api/v1/service/loadcast/score", 405),
        ("POST", "/health/live", 405),
    ],
)
def test_what_is_not_there_is_said_in_json(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method, json=[])
    assert (answer.status_code, answer.mimetype) == (status, PROBLEM_JSON)
    assert answer.json["error"]["message"]
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_415(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/score", data=b"[]", headers=headers)
    assert (answer.status_code, answer.mimetype) == (415, PROBLEM_JSON)
    assert "wanted" in answer.json["error"]["message"]


def test_a_content_type_with_a_charset_is_fine(client: FlaskClient) -> None:
    assert client.post("/score", data=b"[]", content_type="Application/JSON; charset=UTF-8").status_code == 200


@pytest.mark.parametrize("body", [b" " * (request_contract.MAX_BODY_BYTES + 1), b"[" + b"0," * 10_000 + b"0]"])
def test_too_much_is_413(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/score", data=body, content_type="application/json")
    assert (answer.status_code, answer.mimetype) == (413, PROBLEM_JSON)


def test_health_and_the_front_page_are_json(client: FlaskClient) -> None:
    assert client.get("/health/live").json == {"status": "live"}
    assert client.get("/health/ready").json == {"status": "ready"}
    assert "POST /score" in client.get("/").json["routes"]


def test_a_service_without_a_model_is_live_but_not_ready() -> None:
    client = create_app(None, keys=None, name="x").test_client()
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503
    assert client.post("/score", json=BATCH).status_code == 503


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer \xe9"]
)
def test_without_the_right_key_everything_but_health_is_401(guarded: FlaskClient, value: str | None) -> None:
    headers = {} if value is None else {"Authorization": value}
    for method, path in [("POST", "/score"), ("POST", "/api/v1/service/x/score"), ("GET", "/"), ("GET", "/nothing")]:
        answer = guarded.open(path, method=method, json=BATCH, headers=headers)
        assert (answer.status_code, answer.mimetype) == (401, PROBLEM_JSON)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert KEY not in answer.text
    assert guarded.get("/health/live").status_code == guarded.get("/health/ready").status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_right_key_opens(guarded: FlaskClient, scheme: str) -> None:
    assert guarded.post("/score", json=BATCH, headers={"Authorization": f"{scheme} {KEY}"}).status_code == 200


def test_an_unforeseen_error_is_500_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    answer = create_app(BrokenPredictor(), keys=None, name="x").test_client().post("/score", json=[])
    assert (answer.status_code, answer.mimetype) == (500, PROBLEM_JSON)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize("name", ["", "a/b", "a b", "-x", "x" * 65, "é"])
def test_a_service_name_that_cannot_stand_in_a_url_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        create_app(None, keys=None, name=name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
fields = st.dictionaries(st.sampled_from(sorted(BATCH[0])), json_values, max_size=2)


@given(json_values | st.lists(json_values | fields.map(lambda changes: {**BATCH[0], **changes}), max_size=3))
def test_arbitrary_json_is_answered_or_refused_but_never_fails(client: FlaskClient, value: object) -> None:
    answer = client.post("/score", data=json.dumps(value), content_type="application/json")
    assert answer.status_code in (200, 400)
    assert isinstance(answer.json, dict)
    assert ("error" in answer.json) == (answer.status_code == 400)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_answered_or_refused_but_never_fail(client: FlaskClient, body: bytes) -> None:
    assert client.post("/score", data=body, content_type="application/json").status_code in (200, 400)


def test_init_and_run_answer_as_the_service_does(bundle: Path, client: FlaskClient) -> None:
    api.init(bundle)
    expected = client.post("/score", json=BATCH).json
    text = json.dumps(BATCH)
    assert json.loads(json.dumps(api.run(text))) == expected
    assert api.run(text.encode()) == api.run(BATCH) == expected


def test_run_raises_what_the_service_answers_with_400(bundle: Path) -> None:
    api.init(bundle)
    with pytest.raises(RequestError, match="not JSON"):
        api.run("{")


def test_run_before_init_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_loaded", {})
    with pytest.raises(ArtefactError, match="Call init"):
        api.run([])


def test_one_predictor_serves_many_threads(predictor: Predictor) -> None:
    table = RequestContract(CLASSIC).read_records(BATCH)
    expected = predictor.predict(table)
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(predictor.predict(table))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8


def test_the_documented_request_is_one_that_is_answered(client: FlaskClient) -> None:
    blocks = (ROOT / "Docs" / "API.md").read_text(encoding="utf-8").split("```json\n")[1:]
    request, answer, fault, forecast, gated, inferred = (json.loads(block.partition("```")[0]) for block in blocks)
    answers = client.post("/score", json=request).json
    assert list(answers["0"]) == list(answer["0"])
    assert answers["0"]["SessionStartHourTime"] == answer["0"]["SessionStartHourTime"]
    bad = client.post("/score", json=[*request * 3, {**request[0], "peakLoadLag48": "abc"}]).json
    assert list(bad) == list(fault)
    assert list(bad["error"]) == list(fault["error"])
    assert bad["problems"] == fault["problems"] == bad["error"]["problems"] == fault["error"]["problems"]
    document = client.get("/openapi.json").json
    schemas = document["components"]["schemas"]
    assert list(forecast) == list(schemas["Forecast"]["properties"])
    assert list(forecast["hours"][0]) == list(answer["0"])
    assert list(gated) == [*answer["0"], "answeredBy", "model"]
    assert list(inferred) == list(schemas["InferenceAnswer"]["properties"])
    assert {tensor["name"]: tensor["datatype"] for tensor in inferred["outputs"]} == OUTPUTS


def test_the_documented_fields_and_ranges_are_those_of_the_contract() -> None:
    text = (ROOT / "Docs" / "API.md").read_text(encoding="utf-8")
    assert "\n".join(request_rows(CLASSIC)) in text
