from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_scoring import (
    BROKEN,
    NO_HTTP,
    SERVER,
    SLOW,
    Fault,
    Reply,
    answering,
    fake_service,
    record,
    right,
    right_body,
)
from loadcast import schema
from loadcast.errors import ConfigError, ServiceError
from loadcast.serving import client
from loadcast.serving.client import ScoringClient
from loadcast.serving.remote import answers, connection, patience
from loadcast.serving.remote.answers import by_server, check_answers, explain
from loadcast.serving.remote.connection import score_url
from published import HourPredictor, answer_to, running_service
from tls import make_certificate, server_context

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def waits(monkeypatch: Patch) -> list[float]:
    """What the client would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(patience, "pause", waited.append)
    return waited


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
        message = failure(url, record(), record(hourofday=25))
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
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_asked_again(status: int) -> None:
    def reply(number: int, body: bytes) -> Reply:
        return (status, b"", {}) if number < patience.ATTEMPTS else right(body)

    with fake_service(reply) as service, ScoringClient(service.url) as scoring:
        assert len(scoring.score([record()])) == 1
        assert len(service.requests) == patience.ATTEMPTS


@pytest.mark.parametrize("fault", [*BROKEN, NO_HTTP], ids=repr)
def test_an_answer_that_is_lost_or_cut_is_asked_for_again(fault: Fault) -> None:
    def reply(number: int, body: bytes) -> Reply | Fault:
        return fault if number in (1, 3) else right(body)

    with fake_service(reply) as service, ScoringClient(service.url) as scoring:
        for _ in range(2):
            assert len(scoring.score([record()])) == 1
        assert len(service.requests) == 4


@pytest.mark.parametrize("fault", [*BROKEN, NO_HTTP], ids=repr)
def test_answers_that_are_always_cut_are_an_error(fault: Fault) -> None:
    with fake_service(lambda _number, _body: fault) as service:
        said = failure(service.url)
        # A head that ends early is, by HTTP, one without a length.
        assert "is there, but its answer broke off" in said or "is not JSON: nothing" in said
        assert len(service.requests) == patience.ATTEMPTS


@pytest.mark.parametrize("body", [b"", b"<html>Log in", b"{}", right_body([record(5)])], ids=repr)
def test_an_answer_that_is_wrong_is_asked_for_again_on_another_connection(body: bytes) -> None:
    with fake_service(lambda number, sent: (200, body, {}) if number < 3 else right(sent)) as service:
        with ScoringClient(service.url) as scoring:
            assert len(scoring.score([record()])) == 1
        assert len(set(service.ports)) == len(service.requests) == 3
    with fake_service(answering(body)) as service:
        assert "The service's answer" in failure(service.url) or "The service gave" in failure(service.url)
        assert len(service.requests) % patience.ATTEMPTS == 0


def test_waits_grow_and_differ(waits: list[float]) -> None:
    with fake_service(answering(b"", 502)) as service:
        failure(service.url)
        failure(service.url)
    first, second = waits[:4], waits[4:]
    assert len(second) == 4
    assert first != second
    for waited in (first, second):
        for longest, wait_s in zip((0.25, 0.5, 1.0, 2.0), waited, strict=True):
            assert longest / 2 <= wait_s <= longest


@pytest.mark.parametrize(("status", "said", "least_s"), [(503, "7", 7), (429, "7", 7), (502, "999999999", 30)])
def test_a_service_may_say_how_long_to_wait_within_reason(
    status: int, said: str, least_s: float, waits: list[float]
) -> None:
    def reply(number: int, body: bytes) -> Reply:
        return (status, b"", {"Retry-After": said}) if number == 1 else right(body)

    with fake_service(reply) as service, ScoringClient(service.url) as scoring:
        assert len(scoring.score([record()])) == 1
    assert least_s <= waits[0] <= 30


def test_a_service_that_stays_busy_is_given_up_with_what_it_says() -> None:
    body = json.dumps({"error": {"message": "No model is loaded."}}).encode()
    with fake_service(answering(body, 503)) as service:
        assert "answered 503: No model is loaded" in failure(service.url)
        assert len(service.requests) == patience.ATTEMPTS


@pytest.mark.parametrize("status", [204, 301, 400, 401, 404, 418, 501])
def test_other_failures_are_not_asked_again(status: int) -> None:
    with fake_service(answering(b"" if status == 204 else b"no", status)) as service:
        assert f"answered {status}: no" in failure(service.url)
        assert len(service.requests) == 1


def test_a_redirect_is_not_followed_so_the_key_goes_nowhere_else() -> None:
    with fake_service(answering(right_body([record()]))) as other:
        reply = answering(b"", 307, Location=f"{other.url}/score")
        with fake_service(reply) as service:
            assert "answered 307" in failure(service.url, key="secret")
        assert other.requests == []


def test_where_nothing_listens_the_error_says_how_to_start_the_service(waits: list[float]) -> None:
    with fake_service(answering(b"")) as service:
        url = service.url
    message = failure(url)
    assert "cannot be reached" in message
    assert "webservice.py" in message
    assert len(waits) == patience.ATTEMPTS - 1


def test_a_service_that_was_there_is_waited_for_longer_as_it_may_start_anew(waits: list[float]) -> None:
    with fake_service(lambda _number, body: right(body)) as service, ScoringClient(service.url) as scoring:
        scoring.score([record()])
        service.shutdown()
        service.server_close()
        scoring._connections[0].close()  # the thread that serves it would go on
        with pytest.raises(ServiceError, match="cannot be reached"):
            scoring.score([record()])
    assert len(waits) == patience.RESTART_ATTEMPTS - 1


@pytest.mark.parametrize("fault", SLOW, ids=repr)
def test_a_service_that_crawls_is_asked_once_more_and_given_up(fault: Fault, monkeypatch: Patch) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.1)
    with fake_service(lambda _number, _body: fault) as service:
        assert "gave no answer for 0.1 s" in failure(service.url)
        assert len(service.requests) == patience.ATTEMPTS_IN_SILENCE


def test_after_an_answer_that_took_long_the_next_request_has_all_its_time(monkeypatch: Patch) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 1.0)
    left: list[float | None] = []
    send = connection._TimedSending.send

    def watched(self: Any, data: Any) -> None:
        send(self, data)
        left.append(self.sock.gettimeout())

    monkeypatch.setattr(connection._TimedSending, "send", watched)
    with fake_service(lambda _number, body: right(body)) as service, ScoringClient(service.url) as scoring:
        for _ in range(2):
            scoring.score([record()])
    assert left[1:] == [connection._SEND_TIMEOUT_S] * 3


def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: Patch) -> None:
    monkeypatch.setattr(connection, "_MAX_BODY_BYTES", 1000)
    with fake_service(answering(b" " * 100_000)) as service:
        assert "has more than 5096 bytes" in failure(service.url)
        assert len(service.requests) == 1


# --- TLS -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("fault", [*BROKEN, NO_HTTP], ids=repr)
def test_by_tls_too_what_is_lost_or_cut_is_asked_for_again(fault: Fault, certificate: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def reply(number: int, body: bytes) -> Reply | Fault:
        return fault if number in (1, 3) else right(body)

    with fake_service(reply, server_context(certificate)) as service, ScoringClient(service.url, "secret") as scoring:
        for _ in range(2):
            assert len(scoring.score([record()])) == 1
        assert len(service.requests) == 4


def test_by_tls_too_what_crawls_ends(certificate: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.3)
    with fake_service(lambda _number, _body: SLOW[1], server_context(certificate)) as service:
        assert "gave no answer for 0.3 s" in failure(service.url)


def test_a_service_that_cannot_prove_who_it_is_gets_no_key(certificate: Path, waits: list[float]) -> None:
    with fake_service(lambda _number, body: right(body), server_context(certificate)) as service:
        assert "could not prove who it is (TLS)" in failure(service.url, key="secret")
        assert (service.requests, waits) == ([], [])


# --- the deadline ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", SLOW, ids=repr)
def test_a_deadline_ends_what_crawls(fault: Fault) -> None:
    with fake_service(lambda _number, _body: fault) as service, ScoringClient(service.url, deadline_s=0.2) as scoring:
        with pytest.raises(ServiceError, match=r"had not answered when the deadline of 0\.2 s was over"):
            scoring.score([record()])
        assert len(service.requests) == 1


def test_nothing_is_waited_for_that_comes_after_the_deadline(waits: list[float]) -> None:
    with (
        fake_service(answering(b"", 503, **{"Retry-After": "20"})) as service,
        ScoringClient(service.url, deadline_s=10) as scoring,
    ):
        with pytest.raises(ServiceError, match="deadline of 10 s"):
            scoring.score([record()])
        assert len(service.requests) == 1
    assert waits == []


def test_a_deadline_is_for_each_call() -> None:
    with (
        fake_service(lambda _number, body: right(body)) as service,
        ScoringClient(service.url, deadline_s=60) as scoring,
    ):
        assert len(scoring.score([record()])) == len(list(scoring.score_in_batches([record()]))) == 1


# --- batches ---------------------------------------------------------------------------------------------------------
def test_batches_are_cut_by_their_bytes_too(monkeypatch: Patch) -> None:
    size = len(json.dumps([record()], separators=(",", ":")))
    monkeypatch.setattr(client, "MAX_BODY_BYTES", 3 * size)
    with fake_service(lambda _number, body: right(body)) as service, ScoringClient(service.url) as scoring:
        answers = list(scoring.score_in_batches((record(hour) for hour in range(10)), 10_000))
        assert scoring.score([record(hour) for hour in range(10)]) == answers
        assert all(len(body) <= 3 * size for _, _, body in service.requests)
        assert [len(json.loads(body)) for _, _, body in service.requests] == [3, 3, 3, 1] * 2
    assert [answer.hour.hour for answer in answers] == list(range(10))


def test_where_the_service_takes_less_batches_are_halved_and_it_is_remembered() -> None:
    size = len(json.dumps([record()], separators=(",", ":")))

    def reply(_number: int, body: bytes) -> Reply:
        return (413, b"too large", {}) if len(body) > 3 * size else right(body)

    with fake_service(reply) as service, ScoringClient(service.url) as scoring:
        assert len(scoring.score([record(hour) for hour in range(12)])) == 12
        refused = len(service.requests)
        assert len(scoring.score([record(hour) for hour in range(12)])) == 12
        assert len(service.requests) - refused <= 5
    with fake_service(answering(b"too large", 413)) as service:
        assert "Take a smaller --batch" in failure(service.url, record(0), record(1))


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


def answered(check: Callable[..., Any], body: bytes) -> Any:
    """The answers to two records that `check` reads in a body; None where it refuses them."""
    try:
        return check(body, [record(0), record(1)])
    except ServiceError:
        return None


PIECES = st.sampled_from(
    [
        b'"0":',
        b'"1":',
        b"{",
        b"}",
        b",",
        b"1e999",
        b"18446744073709551617",
        b"-0",
        b"1.0",
        b"NaN",
        b"true",
        b'"\\ud800"',
    ]
)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), PIECES), max_size=3))
def test_the_same_answers_are_taken_as_before_orjson(changes: list[tuple[int, int, bytes]]) -> None:
    body = right_body([record(0), record(1)])
    for position, removed, piece in changes:
        body = body[:position] + piece + body[position + removed :]
    with pytest.MonkeyPatch.context() as patch:
        taken = answered(check_answers, body)
        patch.setattr(answers, "_decoded", json.loads)  # as it was before
        assert taken == answered(check_answers, body)


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
