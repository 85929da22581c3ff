"""The open inference protocol: the same answers as /score, and every fault named. About 4 s."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from bundles import random_features, records, write_bundle
from loadcast import schema
from loadcast.errors import RequestError
from loadcast.kernels.features import CLASSIC
from loadcast.serving.app import create_app
from loadcast.serving.column_request import MAX_BODY_BYTES, OUTPUTS, read_column_request
from loadcast.serving.columns import Columns, columns_of, number_names
from loadcast.serving.predictor import Predictor
from loadcast.serving.request_contract import ContractError, RequestContract

CONTRACT = RequestContract(CLASSIC)
KINDS = {pa.int32(): "INT32", pa.float64(): "FP64"}
BATCH = records(random_features(3, seed=9, servers=("10.0.0.1", "192.0.2.1")))
INFER = "/v2/models/loadcast/infer"


def request(batch: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    tensors = [
        {
            "name": field.name,
            "shape": [len(batch)],
            "datatype": KINDS.get(field.type, "BYTES"),
            "data": [record[field.name] for record in batch],
        }
        for field in CONTRACT.schema
    ]
    return {"inputs": tensors, **more}


def tensor(body: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [tensor for tensor in body["inputs"] if tensor["name"] == name]
    return found


def read(body: Any) -> list[Any]:
    return plain(read_column_request(json.dumps(body).encode(), CONTRACT).columns)


def plain(columns: Columns) -> list[Any]:
    """Columns as lists, which can be compared."""
    return [list(columns.servers), list(columns.hours), columns.whole.tolist(), columns.numbers.tolist()]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    bundle = write_bundle(tmp_path_factory.mktemp("columns") / "bundle", random_features(300))
    return create_app(Predictor.load(bundle), keys=None, name="loadcast").test_client()


def test_the_answers_are_those_of_score_bit_for_bit(client: FlaskClient) -> None:
    batch = records(random_features(500, seed=4, servers=("10.0.0.1", "10.0.0.4", "192.0.2.1", "::ffff:1.2.3.4")))
    wanted = list(client.post("/score", json=batch).json.values())
    body = client.post(INFER, json=request(batch, id="mine")).json
    assert (body["id"], body["model_name"]) == ("mine", "loadcast")
    given = {output["name"]: output for output in body["outputs"]}
    assert {name: output["datatype"] for name, output in given.items()} == OUTPUTS
    assert given["probability"]["shape"] == [500, 3]
    for name in OUTPUTS:
        if name != "probability":
            assert given[name]["data"] == [answer[name] for answer in wanted]
            assert given[name]["shape"] == [500]
    shares = np.array(given["probability"]["data"]).reshape(500, 3)
    assert shares.tolist() == [list(answer["probability"].values()) for answer in wanted]


def test_the_protocol_s_own_routes(client: FlaskClient) -> None:
    assert client.get("/v2").json["name"] == "loadcast"
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    about = client.get("/v2/models/loadcast").json
    (version,) = about["versions"]
    assert [tensor["name"] for tensor in about["inputs"]] == CONTRACT.schema.names
    assert [tensor["name"] for tensor in about["outputs"]] == list(OUTPUTS)
    assert client.get(f"/v2/models/loadcast/versions/{version}").json == about
    assert client.get(f"/v2/models/loadcast/versions/{version}/ready").json == {"name": "loadcast", "ready": True}
    answer = client.post(f"/v2/models/loadcast/versions/{version}/infer", json=request(BATCH)).json
    assert answer["model_version"] == version
    for path in ("/v2/models/other", "/v2/models/loadcast/versions/0", "/v2/models/loadcast/versions/0/ready"):
        missing = client.get(path)
        assert missing.status_code == 404
        assert missing.json["error"] == missing.json["detail"]
    waiting = create_app(None, keys=None, name="loadcast").test_client()
    assert waiting.get("/v2/health/ready").status_code == 503
    assert waiting.get("/v2/models/loadcast/ready").status_code == 503
    assert waiting.post(INFER, json=request(BATCH)).status_code == 503


def test_only_the_outputs_that_are_asked_for_are_given(client: FlaskClient) -> None:
    body = client.post(INFER, json=request(BATCH, outputs=[{"name": "label"}, {"name": "prediction"}])).json
    assert [output["name"] for output in body["outputs"]] == ["prediction", "label"]


def test_columns_may_be_nested_and_numbers_whole() -> None:
    given, other = request(BATCH), request(BATCH)
    for tensor in other["inputs"]:
        tensor["shape"].append(1)
        tensor["data"] = [[value] for value in tensor["data"]]
        if tensor["datatype"] == "INT32":
            tensor["datatype"] = "INT64"
    assert read(other) == read(given) == plain(columns_of(CONTRACT.read_records(BATCH), CLASSIC))
    lag = tensor_of_whole_numbers(given)
    at = number_names(CLASSIC).index("peakLoadLag48")
    assert [row[at] for row in read(given)[3]] == lag["data"]


def tensor_of_whole_numbers(body: dict[str, Any]) -> dict[str, Any]:
    lag = tensor(body, "peakLoadLag48")
    lag.update(datatype="INT64", data=[round(value) for value in lag["data"]])
    return lag


def test_no_records_have_no_answers(client: FlaskClient) -> None:
    body = client.post(INFER, json=request([])).json
    assert [(output["shape"], output["data"]) for output in body["outputs"][:2]] == [([0], [])] * 2
    assert body["outputs"][4]["shape"] == [0, 3]


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str | None, int | None]] = {
    "a value out of range": (lambda body: tensor(body, "month")["data"].__setitem__(1, 13), "month", 1),
    "a value of another type": (
        lambda body: tensor(body, "peakLoadLag48")["data"].__setitem__(2, "x"),
        "peakLoadLag48",
        2,
    ),
    "no address": (lambda body: tensor(body, schema.SERVER)["data"].__setitem__(0, "x"), schema.SERVER, 0),
    "a fraction among integers": (
        lambda body: tensor(body, "peakLoadLag48").update(datatype="INT32", data=[1, 2.5, 3]),
        "peakLoadLag48",
        1,
    ),
    "another datatype": (lambda body: tensor(body, "month").update(datatype="FP64"), "month", None),
    "an unknown datatype": (lambda body: tensor(body, "month").update(datatype="int"), "month", None),
    "a missing input": (lambda body: body["inputs"].remove(tensor(body, "year")), "year", None),
    "an unknown input": (lambda body: body["inputs"].append({**tensor(body, "year"), "name": "yaer"}), "yaer", None),
    "an input twice": (lambda body: body["inputs"].append(tensor(body, "year")), "year", None),
    "another shape": (lambda body: tensor(body, "year").update(shape=[3, 2]), "year", None),
    "another length": (lambda body: tensor(body, "year").update(shape=[2]), "year", None),
    "no length": (lambda body: tensor(body, "year").update(shape=[]), "year", None),
    "fewer values": (lambda body: tensor(body, "year")["data"].pop(), "year", None),
    "an unknown field": (lambda body: body.update(input=1), "input", None),
    "an unknown output": (lambda body: body.update(outputs=[{"name": "prob"}]), "outputs[0].name", None),
    "no inputs": (lambda body: body.pop("inputs"), "inputs", None),
    "an input that is none": (lambda body: body["inputs"].__setitem__(0, 7), "inputs[0]", None),
    "an id that is no text": (lambda body: body.update(id=7), "id", None),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_fault_is_named_with_its_field(client: FlaskClient, case: str) -> None:
    change, field, record = CHANGES[case]
    body = copy.deepcopy(request(BATCH))
    change(body)
    answer = client.post(INFER, json=body)
    assert answer.status_code == 400
    assert (field, record) in [(problem["field"], problem["record"]) for problem in answer.json["problems"]]
    assert answer.json["problem_count"] == len(answer.json["problems"])
    assert answer.json["error"] == answer.json["detail"]


def test_values_that_break_the_contract_are_named_as_score_names_them(client: FlaskClient) -> None:
    no_day = {**BATCH[2], schema.HOUR: "2016-02-30 00:00:00"}
    bad = [{**BATCH[0], "month": 13}, {**BATCH[1], "peakLoadLag48": None}, no_day]
    assert client.post(INFER, json=request(bad)).json["problems"] == client.post("/score", json=bad).json["problems"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"inputs": [], "inputs": []}',
        b'{"inputs": [{"name": "year", "name": "year"}]}',
        b'{"inputs": NaN}',
        b'{"inputs": ' + b"[" * 5000,
        b'{"id": "\\ud800", "inputs": []}',
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read_column_request(body, CONTRACT)
    assert caught.value.http_status == 400


@pytest.mark.parametrize("depth", [2, 250, 300, 980, 1020, 1030])
@pytest.mark.parametrize("field", ["name", "shape", "datatype", "data", "parameters", "id", "inputs", "outputs"])
def test_no_depth_is_a_failure(field: str, depth: int) -> None:
    body = request(BATCH)
    part = body if field in ("id", "inputs", "outputs") else tensor(body, "year")
    part[field] = "deep"
    text = json.dumps(body).replace('"deep"', "[" * depth + "]" * depth)
    with pytest.raises(RequestError):
        read_column_request(text.encode(), CONTRACT)


@pytest.mark.parametrize(
    "body",
    [b" " * (MAX_BODY_BYTES + 1), b"[" + b"[]," * 2_000_000 + b"[]]", json.dumps(request(BATCH * 3334)).encode()],
    ids=["bytes", "values", "records"],
)
def test_too_much_is_413(client: FlaskClient, body: bytes) -> None:
    assert client.post(INFER, data=body, content_type="application/json").status_code == 413


values = st.none() | st.booleans() | st.integers(-5, 2500) | st.floats() | st.text(max_size=4) | st.just(2**70)


@given(st.data())
def test_columns_are_read_as_records_are(data: st.DataObject) -> None:
    """With any values: the same table, or the same problems."""
    batch = copy.deepcopy(BATCH)
    for _ in range(data.draw(st.integers(0, 2))):
        record = data.draw(st.integers(0, 2))
        batch[record][data.draw(st.sampled_from(CONTRACT.schema.names))] = data.draw(values)
    columns = {name: [record[name] for record in batch] for name in CONTRACT.schema.names}

    def outcome(read: Callable[[], Columns]) -> Any:
        try:
            return plain(read())
        except ContractError as error:
            return error.problems

    expected = outcome(lambda: columns_of(CONTRACT.read_records(batch), CLASSIC))
    assert outcome(lambda: CONTRACT.read_columns(columns, len(batch))) == expected
