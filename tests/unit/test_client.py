from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import classic
from loadcast import schema
from loadcast.errors import ConfigError, ServiceError
from loadcast.serving import client
from loadcast.serving.client import ScoringClient, by_server, check_answers, explain, score_url
from published import HourPredictor, answer_to, running_service

Reply = tuple[int, bytes, dict[str, str]]
SERVER = "115.220.193.16"


def record(hour: int = 0, server: str = SERVER, **fields: Any) -> dict[str, Any]:
    numbers = dict.fromkeys((classic.LINEAR_TREND, *classic.HISTORY_COLUMNS), 0.0)
    calendar = dict.fromkeys(classic.CALENDAR_COLUMNS, 1) | {"hourofday": hour}
    time = f"2016-07-01 {hour:02d}:00:00"
    return {schema.SERVER: server, schema.HOUR: time, **calendar, **numbers, **fields}


def right_body(records: list[dict[str, Any]]) -> bytes:
    return json.dumps({str(number): answer_to(item) for number, item in enumerate(records)}).encode()


class FakeService(ThreadingHTTPServer):
    """Answers each request with what `reply(number, body)` says, and keeps what it was sent."""

    def __init__(self, reply: Callable[[int, bytes], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _FakeHandler)
        self.reply = reply
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def handle_error(self, *_: object) -> None:
        """Says nothing where a client hangs up early: some tests are about that."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _FakeHandler(BaseHTTPRequestHandler):
    server: FakeService
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, answer, headers = self.server.reply(len(self.server.requests), body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def fake_service(reply: Callable[[int, bytes], Reply]) -> Iterator[FakeService]:
    with FakeService(reply) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


def answering(body: bytes, status: int = 200, **headers: str) -> Callable[[int, bytes], Reply]:
    return lambda _number, _body: (status, body, headers)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF_S", 0.0)


def refusal(body: bytes, records: list[dict[str, Any]]) -> str:
    """What is said of answers that are not taken."""
    with pytest.raises(ServiceError) as caught:
        check_answers(body, records)
    return str(caught.value)


def failure(url: str, *records: dict[str, Any], key: str | None = None) -> str:
    """What is said when scoring `records` (by default one that is right) fails."""
    with ScoringClient(url, key) as scoring, pytest.raises(ServiceError) as caught:
        scoring.score(records or [record()])
    return str(caught.value)


# --- with the service ------------------------------------------------------------------------------------------------
def test_records_are_answered_in_order_and_in_batches_of_the_wanted_size() -> None:
    predictor = HourPredictor()
    records = [record(hour, server) for server in (SERVER, "10.0.0.1") for hour in range(24)]
    with running_service(predictor) as url, ScoringClient(url) as scoring:
        answers = list(scoring.score_in_batches(iter(records), 20))
    assert [len(table) for table in predictor.tables] == [20, 20, 8]
    assert [(answer.server, answer.hour.hour) for answer in answers] == [
        (item[schema.SERVER], item["hourofday"]) for item in records
    ]
    assert [answer.label for answer in answers[:9]] == [1, 1, 1, 1, 1, 1, 2, 2, 3]
    assert answers[0].probabilities == (0.8, 0.1, 0.1)
    assert [forecast.cold_start for forecast in by_server(answers)] == [False, True]


def test_nothing_is_asked_for_no_records() -> None:
    with running_service(predictor := HourPredictor()) as url, ScoringClient(url) as scoring:
        assert list(scoring.score_in_batches([], 48)) == []
    assert predictor.tables == []


def test_the_key_is_sent() -> None:
    with running_service(HourPredictor(), key="secret") as url, ScoringClient(url, "secret") as scoring:
        assert len(scoring.score([record()])) == 1


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_missing_or_wrong_key_is_explained_without_showing_it(key: str | None) -> None:
    with running_service(HourPredictor(), key="secret") as url:
        message = failure(url, key=key)
    assert "answered 401: The key is missing or wrong" in message
    assert "--key-file" in message
    assert "secret" not in message
    assert "Bearer wrong" not in message


def test_a_refused_record_is_named_as_the_service_names_it() -> None:
    with running_service(HourPredictor()) as url:
        message = failure(url, record(), record(hour=25))
    assert "answered 400" in message
    assert "record 1, field hourofday, found 25, wanted an integer from 0 to 23" in message


def test_a_wrong_path_is_explained() -> None:
    with running_service(HourPredictor()) as url:
        message = failure(f"{url}/elsewhere")
    assert "answered 404: There is nothing at /elsewhere/score" in message
    assert "--url" in message


def test_the_named_route_of_the_public_sample_works_too() -> None:
    with running_service(HourPredictor()) as url, ScoringClient(f"{url}/api/v1/service/loadcast/score") as scoring:
        assert len(scoring.score([record()])) == 1


# --- with a service that fails ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_busy_service_is_asked_again(status: int) -> None:
    def reply(number: int, body: bytes) -> Reply:
        # A client that heeded this header would wait for thirty years.
        return (status, b"", {"Retry-After": "999999999"}) if number < 3 else (200, right_body(json.loads(body)), {})

    with fake_service(reply) as service, ScoringClient(service.url) as scoring:
        assert len(scoring.score([record()])) == 1
        assert len(service.requests) == 3


def test_a_service_that_stays_busy_is_given_up_with_what_it_says() -> None:
    body = json.dumps({"error": {"message": "No model is loaded."}}).encode()
    with fake_service(answering(body, 503)) as service:
        assert "answered 503: No model is loaded" in failure(service.url)
        assert len(service.requests) == 5


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_failures_are_not_asked_again(status: int) -> None:
    with fake_service(answering(b"no", status)) as service:
        assert f"answered {status}: no" in failure(service.url)
        assert len(service.requests) == 1


def test_a_redirect_is_not_followed_so_the_key_goes_nowhere_else() -> None:
    with fake_service(answering(right_body([record()]))) as other:
        reply = answering(b"", 307, Location=f"{other.url}/score")
        with fake_service(reply) as service:
            assert "answered 307" in failure(service.url, key="secret")
        assert other.requests == []


def test_where_nothing_listens_the_error_says_how_to_start_the_service() -> None:
    with fake_service(answering(b"")) as service:
        url = service.url
    message = failure(url)
    assert "cannot be reached" in message
    assert "webservice.py" in message


def test_a_silent_service_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_READ_TIMEOUT_S", 0.1)
    done = threading.Event()

    def reply(_number: int, _body: bytes) -> Reply:
        done.wait(5)
        return 200, b"", {"Connection": "close"}

    with fake_service(reply) as service:
        assert "gave no answer for 0.1 s" in failure(service.url)
        done.set()
        assert len(service.requests) == 1


def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MAX_BODY_BYTES", 1000)
    with fake_service(answering(b" " * 100_000)) as service:
        assert "has more than 5096 bytes" in failure(service.url)


def test_an_answer_cut_short_is_an_error() -> None:
    with fake_service(answering(b"{}", **{"Content-Length": "50", "Connection": "close"})) as service:
        assert "answer broke off" in failure(service.url)


# --- checking answers ------------------------------------------------------------------------------------------------
def test_a_lost_answer_is_noticed() -> None:
    assert "1 answer(s) to 2 record(s)" in refusal(right_body([record(0)]), [record(0), record(1)])


def test_answers_in_another_order_are_noticed() -> None:
    answers = json.loads(right_body([record(0), record(1)]))
    body = json.dumps(dict(reversed(answers.items()))).encode()
    assert "in order" in refusal(body, [record(0), record(1)])


WRONG: dict[str, dict[str, Any]] = {
    "another server": {schema.SERVER: "10.0.0.9"},
    "another hour": {schema.HOUR: "2016-07-01 05:00:00"},
    "an unknown class": {schema.PREDICTION: 4},
    "a class that is true": {schema.PREDICTION: True},
    "a class in text": {schema.PREDICTION: "1"},
    "a list as class": {schema.PREDICTION: [1]},
    "a name of another class": {schema.LABEL: "high"},
    "no probabilities": {"probability": None},
    "two probabilities": {"probability": {"low": 0.5, "medium": 0.5}},
    "a probability above one": {"probability": {"low": 1.5, "medium": -0.5, "high": 0.0}},
    "probabilities that are no whole": {"probability": {"low": 0.5, "medium": 0.1, "high": 0.1}},
    "a class that is not the likeliest": {"probability": {"low": 0.1, "medium": 0.8, "high": 0.1}},
    "NaN": {"probability": {"low": float("nan"), "medium": 0.5, "high": 0.5}},
    "a probability in text": {"probability": {"low": "1", "medium": 0, "high": 0}},
    "a huge probability": {"probability": {"low": 10**400, "medium": 0, "high": 0}},
    "a cold start in text": {"cold_start": "no"},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG.keys())
def test_an_answer_that_is_wrong_is_refused_and_its_field_named(fields: dict[str, Any]) -> None:
    body = json.dumps({"0": answer_to(record()) | fields}).encode()
    message = refusal(body, [record()])
    assert message.startswith("The service's answer to record 0: ")
    assert next(iter(fields)) in message


NO_ANSWERS = [b"", b"<html>", b"[" * 100_000, b"\xff\xfe", b"[]", b"null", b'{"0": null}', b'{"0": 1}']


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_a_body_that_holds_no_answers_is_refused(body: bytes) -> None:
    refusal(body, [record()])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = (schema.SERVER, schema.HOUR, schema.PREDICTION, schema.LABEL, "probability", "cold_start")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_stands_in_an_answer_it_is_taken_or_refused(fields: dict[str, Any]) -> None:
    body = json.dumps({"0": answer_to(record()) | fields}).encode()
    try:
        (answer,) = check_answers(body, [record()])
    except ServiceError:
        return
    assert answer.label in schema.CLASS_NAMES
    assert answer.hour == datetime(2016, 7, 1)


@given(st.binary())
def test_whatever_an_error_body_holds_its_explanation_is_printable(body: bytes) -> None:
    assert all(line.isprintable() for line in explain(body).split("\n"))


def test_an_explanation_carries_no_sign_that_drives_a_terminal() -> None:
    body = json.dumps({"error": {"message": "\x1b[2Jgone\r", "problems": [{"record": "\x1b]0;x\x07"}, 7]}}).encode()
    assert explain(body) == " [2Jgone \n  record  ]0;x "


def test_an_explanation_is_short() -> None:
    problems = [{"record": number, "found": "x" * 10_000} for number in range(100)]
    assert len(explain(json.dumps({"error": {"message": "y" * 10_000, "problems": problems}}).encode())) < 4000


# --- addresses -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/score"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/score"),
        ("https://example.org/api/v1/service/x/score", "https://example.org/api/v1/service/x/score"),
        ("http://[::1]:5000/base", "http://[::1]:5000/base/score"),
    ],
)
def test_the_score_route_follows_from_the_address(url: str, wanted: str) -> None:
    assert score_url(url) == wanted


NO_ADDRESSES = ["", "127.0.0.1:5000", "ftp://x", "file:///x", "http://", "http://x:port", "http://[x"]


@pytest.mark.parametrize("url", [*NO_ADDRESSES, "http://x/?a=1", "http://x/#a", "http://x\n"])
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url: found"):
        score_url(url)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        score_url("http://me:hunter2@example.org")
    assert "hunter2" not in str(caught.value)
