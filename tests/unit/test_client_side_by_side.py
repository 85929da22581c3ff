"""Many servers side by side, with faults at every request: the forecast is whole and in order, or says it is not."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_scoring import (
    BROKEN,
    NO_HTTP,
    SLOW,
    FakeService,
    Fault,
    Reply,
    Source,
    answering,
    fake_service,
    record,
    right,
    right_body,
)
from loadcast import schema
from loadcast.errors import InputError
from loadcast.serving import client
from loadcast.serving.client import ScoringClient
from loadcast.serving.remote import patience, side_by_side
from loadcast.serving.remote.answers import ServerForecast, check_answers
from loadcast.serving.remote.patience import ATTEMPTS, Deadline
from loadcast.serving.remote.servers import Outcome
from loadcast.serving.remote.side_by_side import SideBySide

#: How many cases the property test runs.
CASES = int(os.environ.get("LOADCAST_CLIENT_FAULTS", "30"))
HOURS = 4
FEW = [Source(f"10.0.0.{number}", HOURS) for number in range(1, 7)]
WRONG: list[Reply] = [
    (200, b"<html>Log in</html>", {"Content-Type": "text/html"}),
    (200, right_body([record(hour, "192.0.2.1") for hour in range(HOURS)]), {}),
    (200, b"{}", {}),
    (200, b"not gzip", {"Content-Encoding": "gzip"}),
    (429, b"", {"Retry-After": "1"}),
    (500, b"it failed", {}),
    (502, b"<html>", {}),
    (503, b"", {"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
    (504, b"", {"Retry-After": "-1"}),
]
Failing = Fault | Reply
PASSING: list[Failing] = [*BROKEN, NO_HTTP, *WRONG]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited; the moment before which nothing begins is kept out of the way."""
    waited: list[float] = []
    monkeypatch.setattr(patience, "pause", waited.append)
    monkeypatch.setattr(patience.Pace, "wait_s", lambda self: 0.0)
    return waited


def expected(source: Source) -> ServerForecast:
    made = list(source.records())
    return ServerForecast(source.server, tuple(check_answers(right_body(made), made)))


def outcomes(url: str, sources: list[Any], batch_size: int = 48, **options: Any) -> list[Outcome]:
    with ScoringClient(url, **options) as scoring:
        return list(scoring.score_servers(sources, batch_size))


def check(sources: list[Source], found: list[Outcome]) -> None:
    """Every server is there, in order, with its own forecast, whole, or with an error."""
    assert [outcome.server for outcome in found] == [source.server for source in sources]
    for source, outcome in zip(sources, found, strict=True):
        assert (outcome.forecast is None) != (outcome.error is None)
        assert outcome.forecast is None or outcome.forecast == expected(source)


@dataclass
class Failures:
    """Fails at some requests, by number and by the server that is asked for first; threads call it."""

    by_number: dict[int, Failing] = field(default_factory=dict)
    by_server: dict[str, Failing] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def __call__(self, number: int, body: bytes) -> Reply | Fault:
        servers = [item[schema.SERVER] for item in json.loads(body)]
        self.seen.append(servers[0])
        for server in servers:
            if server in self.by_server:
                return self.by_server[server]
        return self.by_number.get(number) or right(body)


# --- faults at every request -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("failing", PASSING, ids=lambda item: repr(item)[:30])
def test_one_fault_at_any_request_is_hidden(failing: Failing) -> None:
    for number in range(1, len(FEW) + 1):
        with fake_service(Failures({number: failing})) as service:
            found = outcomes(service.url, FEW, connections=2)
            assert len(service.requests) == len(FEW) + 1
        check(FEW, found)
        assert all(outcome.forecast for outcome in found)


@settings(max_examples=CASES)
@given(
    by_number=st.dictionaries(st.integers(1, 30), st.sampled_from(PASSING), max_size=20),
    by_server=st.dictionaries(st.sampled_from(FEW).map(lambda source: source.server), st.sampled_from(PASSING)),
    connections=st.integers(1, 4),
    batch_size=st.sampled_from((1, 3, 48, 96, 10_000)),
    count=st.integers(0, len(FEW)),
)
def test_whatever_fails_the_forecast_is_whole_and_in_order_or_says_what_is_missing(
    by_number: dict[int, Failing], by_server: dict[str, Failing], connections: int, batch_size: int, count: int
) -> None:
    sources = FEW[:count]
    with fake_service(Failures(by_number, by_server)) as service:
        found = outcomes(service.url, sources, batch_size, connections=connections)
    check(sources, found)
    if len(by_number) < ATTEMPTS and not by_server:
        assert all(outcome.forecast for outcome in found)
    if batch_size <= 48:  # each server has requests of its own
        assert all(outcome.error for outcome in found if outcome.server in by_server)


@pytest.mark.parametrize("failing", [BROKEN[0], (500, b"it failed", {}), (400, b"a wrong record", {})], ids=repr)
@pytest.mark.parametrize("batch_size", [48, 10_000])
def test_the_server_that_fails_alone_is_lost(failing: Failing, batch_size: int) -> None:
    lost = FEW[2].server
    with fake_service(Failures(by_server={lost: failing})) as service:
        found = outcomes(service.url, FEW, batch_size, connections=3)
    check(FEW, found)
    answered = [outcome.server for outcome in found if outcome.forecast]
    if batch_size == 48 or not isinstance(failing, Fault):
        assert answered == [source.server for source in FEW if source.server != lost]


@dataclass(frozen=True)
class Broken(Source):
    """A server whose records cannot be made."""

    def records(self) -> Iterator[dict[str, Any]]:
        raise InputError("The statistics hold values that are not finite.")


def test_a_server_whose_records_cannot_be_made_is_lost_alone() -> None:
    with fake_service(Failures()) as service:
        found = outcomes(service.url, [FEW[0], Broken("10.0.0.9"), FEW[1]], 10_000)
    check([FEW[0], Broken("10.0.0.9"), FEW[1]], found)
    assert isinstance(found[1].error, InputError)


def test_what_nobody_expects_is_raised_and_not_kept_as_a_reason() -> None:
    class Odd(Source):
        def records(self) -> Iterator[dict[str, Any]]:
            raise ZeroDivisionError

    with fake_service(Failures()) as service, pytest.raises(ZeroDivisionError):
        outcomes(service.url, [FEW[0], Odd("10.0.0.9"), FEW[1]])


# --- a service that is not worth asking ------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_what_every_request_would_meet_is_met_once(status: int) -> None:
    with fake_service(answering(b"no", status)) as service:
        found = outcomes(service.url, FEW)
        assert len(service.requests) == 1
    assert {str(outcome.error) for outcome in found} == {str(found[0].error)}
    assert f"answered {status}" in str(found[0].error)


def test_where_nothing_listens_not_every_server_is_waited_for(waits: list[float]) -> None:
    with fake_service(answering(b"")) as service:
        url = service.url
    found = outcomes(url, FEW)
    assert len(waits) == ATTEMPTS - 1
    assert all("cannot be reached" in str(outcome.error) for outcome in found)


def test_a_service_that_stays_busy_is_given_up_after_some_servers() -> None:
    many = [Source(f"10.0.0.{number}", 1) for number in range(50)]
    with fake_service(answering(b"busy", 503)) as service:
        found = outcomes(service.url, many)
        assert len(service.requests) == client._GIVEN_UP_AFTER * ATTEMPTS
    assert all("answered 503: busy" in str(outcome.error) for outcome in found)


def test_a_client_that_gave_up_asks_again_at_the_next_call() -> None:
    with (
        fake_service(lambda number, body: (404, b"", {}) if number == 1 else right(body)) as service,
        ScoringClient(service.url) as scoring,
    ):
        assert not any(outcome.forecast for outcome in scoring.score_servers(FEW))
        assert all(outcome.forecast for outcome in scoring.score_servers(FEW))
        assert len(scoring.score([record()])) == 1


# --- side by side ----------------------------------------------------------------------------------------------------
def wait_for(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.002)


@pytest.mark.parametrize("connections", [1, 3])
def test_so_many_requests_are_under_way_as_there_are_connections(connections: int) -> None:
    started = threading.Semaphore(0)
    service_of: list[FakeService] = []

    def reply(_number: int, body: bytes) -> Reply:
        started.release()
        wait_for(lambda: service_of[0].most_under_way == connections)
        return right(body)

    with fake_service(reply) as service:
        service_of.append(service)
        check(FEW, outcomes(service.url, FEW, connections=connections))
        assert service.most_under_way == connections
        assert len(set(service.ports)) == connections  # each is kept


def test_records_are_made_when_a_connection_is_free_and_not_long_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_AHEAD", 5)
    made: list[str] = []

    class Watched(Source):
        def records(self) -> Iterator[dict[str, Any]]:
            assert len(made) - len(service.requests) < 2
            made.append(self.server)
            return super().records()

    sources = [Watched(f"10.0.1.{number}", 1) for number in range(40)]
    with fake_service(Failures()) as service, ScoringClient(service.url, connections=2) as scoring:
        for number, outcome in enumerate(scoring.score_servers(sources), start=1):
            assert outcome.server == sources[number - 1].server
            assert len(made) <= number + 5
    assert sorted(made) == sorted(source.server for source in sources)


def test_who_stops_early_leaves_no_thread_at_work() -> None:
    with fake_service(Failures()) as service, ScoringClient(service.url, connections=3) as scoring:
        results = scoring.score_servers(FEW)
        next(results)
        results.close()  # type: ignore[attr-defined]  # it is a generator
        wait_for(lambda: not any(thread.name.startswith("score-") for thread in threading.enumerate()))


def test_at_the_deadline_what_was_answered_counts_and_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = FEW[1].server
    at_work: list[Any] = []
    enter = SideBySide.__enter__

    def left_s(deadline: Deadline) -> float:
        """The time is over as soon as all the others are answered."""
        answered = sum(side._taken + len(side._results) for side in at_work)
        return 0.0 if answered >= len(FEW) - 1 else 20.0

    monkeypatch.setattr(Deadline, "left_s", left_s)
    monkeypatch.setattr(SideBySide, "__enter__", lambda side: (at_work.append(side), enter(side))[1])
    with fake_service(Failures(by_server={slow: SLOW[-1]})) as service:
        found = outcomes(service.url, FEW, connections=2, deadline_s=3)
    check(FEW, found)
    assert [outcome.server for outcome in found if outcome.error] == [slow]
    assert "deadline of 3 s" in str(found[1].error)


def test_work_that_hangs_holds_up_neither_the_deadline_nor_the_end() -> None:
    go_on = threading.Event()
    with SideBySide(lambda lane, job: go_on.wait(30) and job, [1, 2, 3], 2, Deadline(0.1)) as results:
        assert list(results) == [None, None, None]
    assert not go_on.is_set()
    go_on.set()


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
@settings(max_examples=40)
def test_results_come_in_the_order_of_the_jobs(naps: list[int], threads: int) -> None:
    def work(lane: int, job: tuple[int, int]) -> int:
        assert 0 <= lane < threads
        time.sleep(job[1] / 5000)
        return job[0]

    with SideBySide(work, list(enumerate(naps)), threads, Deadline()) as results:
        assert list(results) == list(range(len(naps)))


def test_a_busy_service_is_left_alone_by_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    moments: list[float] = []

    def reply(number: int, body: bytes) -> Reply:
        moments.append(time.monotonic())
        return (429, b"", {"Retry-After": "1"}) if number == 1 else right(body)

    with fake_service(reply) as service:
        check(FEW, outcomes(service.url, FEW, connections=1))
    assert moments[1] - moments[0] >= 1


# --- clocks ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "12"}, 12),
        ({"Retry-After": " 12 "}, 12),
        ({"Retry-After": "9" * 400}, 30),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "1.5"}, 0),
        ({"Retry-After": "nan"}, 0),
        ({"Retry-After": "٣"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:09 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:09 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 9),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:09 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Wed, 21 Oct 2099 07:28:00 GMT"}, 0),
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:09 GMT", "Date": "no"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:09 -0000", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_what_a_service_wants_us_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert patience.retry_after_s(headers) == seconds


@given(st.dictionaries(st.sampled_from(("Retry-After", "Date")), st.text(max_size=40)))
def test_whatever_it_wants_we_wait_for_half_a_minute_at_most(headers: dict[str, str]) -> None:
    assert 0 <= patience.retry_after_s(headers) <= 30


def test_a_clock_that_is_wrong_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10**12, 10**9))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    with fake_service(Failures({1: (503, b"", {"Retry-After": "1"}), 3: BROKEN[0]})) as service:
        found = outcomes(service.url, FEW, connections=2, deadline_s=60)
    check(FEW, found)
    assert all(outcome.forecast for outcome in found)
