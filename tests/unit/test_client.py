from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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
from loadcast.errors import ServiceError
from loadcast.serving import client
from loadcast.serving.client import ScoringClient
from loadcast.serving.remote import connection, patience
from loadcast.serving.remote.answers import by_server
from published import HourPredictor, running_service
from tls import make_certificate, server_context

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def waits(monkeypatch: Patch) -> list[float]:
    """What the client would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(patience, "pause", waited.append)
    return waited


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
