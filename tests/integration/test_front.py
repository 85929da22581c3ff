"""The HTTP front, asked by raw sockets: no client can hold it, and every answer is HTTP with JSON, whatever is sent."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from front_service import Answer, Service, parse, read_all, running_front

pytestmark = pytest.mark.integration

HEAD_S, BODY_S, IDLE_S = 0.6, 1.2, 1.8
#: How many random requests are sent; LOADCAST_RAW_CASES=10000 for the full number.
RAW_CASES = int(os.environ.get("LOADCAST_RAW_CASES", "400"))
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
DOCUMENTED = {200, 400, 408, 413, 431, 503}


@pytest.fixture(scope="module")
def front() -> Iterator[Service]:
    limits = {"head_s": HEAD_S, "body_s": BODY_S, "idle_s": IDLE_S, "linger_s": 0.5, "body_bytes": 1 << 20}
    with running_front(2, **limits) as service:
        yield service


def one(data: bytes) -> Answer:
    (answer,) = parse(data)
    return answer


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["detail"]
    assert answer.json["type"].startswith("/problems/")


def test_requests_of_one_connection_are_answered_in_their_order(front: Service) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    chunked = CHUNKED + b"3\r\nabc\r\n2;extension=1\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
    answers = parse(front.exchange(GET + slow + POST % 4 + b"body" + chunked + LAST))
    assert [answer.json["environ"]["PATH_INFO"] for answer in answers] == ["/", "/slow", "/", "/", "/last"]
    assert [answer.json["n_bytes"] for answer in answers] == [0, 0, 4, 5, 0]
    assert ["connection" in answer.headers for answer in answers] == [False] * 4 + [True]


def test_a_thousand_requests_at_once_are_all_answered(front: Service) -> None:
    with front.connect() as client:
        sender = threading.Thread(target=client.sendall, args=(GET * 999 + LAST,))
        sender.start()
        assert len(parse(read_all(client))) == 1_000
        sender.join()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET score HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\nx",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"ffffffffffffffffff\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_json_and_ends_the_connection(front: Service, sent: bytes) -> None:
    assert_refused(one(front.exchange(sent + GET)), 400)


def test_what_came_before_a_broken_request_is_answered(front: Service) -> None:
    first, second = parse(front.exchange(GET + b"nonsense\r\n\r\n" + GET))
    assert first.status == 200
    assert_refused(second, 400)


@pytest.mark.parametrize("sent", [b"GET / HT", POST % 10 + b"half", CHUNKED + b"5\r\nab"])
def test_a_request_that_ends_early_is_refused(front: Service, sent: bytes) -> None:
    assert_refused(one(front.exchange(sent, half_close=True)), 400)


def test_a_client_that_sends_no_more_is_answered(front: Service) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    assert [answer.status for answer in parse(front.exchange(slow + GET, half_close=True))] == [200, 200]


@pytest.mark.parametrize(
    ("sent", "within_s"), [(b"GET / HTTP/1.1\r\n", HEAD_S), (POST % 999 + b"x", BODY_S), (CHUNKED + b"999\r\n", BODY_S)]
)
def test_what_arrives_too_slowly_is_refused_however_it_trickles(front: Service, sent: bytes, within_s: float) -> None:
    begin_s = time.monotonic()
    with front.connect() as client:
        client.sendall(sent)
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                client.send(b"x")

        feeder = threading.Thread(target=trickle)
        feeder.start()
        try:
            assert_refused(one(client.recv(1 << 16)), 408)
        finally:
            stop.set()
            feeder.join()
    assert time.monotonic() - begin_s >= within_s


def test_a_connection_without_requests_ends_without_a_word(front: Service) -> None:
    with front.connect() as fresh, front.connect() as used:
        used.sendall(GET)
        assert read_all(fresh) == b""
        assert [answer.status for answer in parse(read_all(used))] == [200]


def test_a_client_that_does_not_read_is_left(front: Service) -> None:
    with front.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        # The answers repeat the head: a few hundred fill what the system holds, on however slow a machine.
        with pytest.raises(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * 8_000) * 5_000)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 400_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 20_000 + b"\r\n", 431),
        (POST % (2 << 20) + b"x" * (2 << 20), 413),
        (CHUNKED + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 32, 413),
    ],
)
def test_what_is_too_large_is_refused_and_the_answer_arrives(front: Service, sent: bytes, status: int) -> None:
    with front.connect() as client:
        sender = threading.Thread(target=lambda: client.sendall(sent))
        sender.start()
        assert_refused(one(read_all(client)), status)
        sender.join()


def test_a_body_is_asked_for_where_the_client_waits_for_that(front: Service) -> None:
    with front.connect() as client:
        client.sendall((POST % 4).replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert client.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body" + LAST)
        assert [answer.json["n_bytes"] for answer in parse(read_all(client))] == [4, 0]


def test_old_clients_and_heads(front: Service) -> None:
    assert one(front.exchange(b"GET / HTTP/1.0\r\n\r\n")).headers["connection"] == "close"
    kept = parse(front.exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + LAST))
    assert [answer.headers["connection"] for answer in kept] == ["keep-alive", "close"]
    (head,) = parse(front.exchange(LAST.replace(b"GET", b"HEAD")), heads_only=True)
    assert int(head.headers["content-length"]) > 0
    assert one(front.exchange(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).status == 200
    upgrade = one(front.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nPRI"))
    assert (upgrade.status, upgrade.headers["connection"]) == (200, "close")


def test_a_client_cannot_say_who_or_where_it_is(front: Service) -> None:
    claims = (
        b"SCRIPT_NAME: /x\r\nScript-Name: /x\r\nX_Real_IP: 1.2.3.4\r\nContent_Length: 7\r\nX-Forwarded-Proto: https\r\n"
    )
    target = b"GET http://elsewhere/a%2Fb%20c?q=1 HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n"
    environ = one(front.exchange(target + claims + b"\r\n")).json["environ"]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("", "/a/b c", "q=1")
    assert (environ["SERVER_NAME"], environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (
        "127.0.0.1",
        "127.0.0.1",
        "http",
    )
    assert "HTTP_X_REAL_IP" not in environ
    assert environ["CONTENT_LENGTH"] == "0"


def test_a_failure_of_the_application_is_answered(front: Service) -> None:
    failed, after = parse(front.exchange(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n" + LAST))
    assert (failed.status, failed.json["status"], after.status) == (500, 500, 200)


def test_slow_answers_hold_nobody_else() -> None:
    with running_front(1) as front, front.connect() as first, front.connect() as second:
        for client in (first, second):
            client.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        for _ in range(4):
            assert one(front.exchange(LAST)).status == 200
        assert one(front.exchange(LAST.replace(b"/last", b"/release"))).status == 200
        for client in (first, second):
            assert one(read_all(client)).status == 200


def pieces(draw: random.Random) -> bytes:
    """Bytes near to requests: whole ones, cut, doubled, with bytes changed, mixed with others."""
    whole = [
        GET,
        LAST,
        POST % 4 + b"body",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        bytes(draw.randrange(256) for _ in range(draw.randrange(60))),
    ]
    data = b"".join(draw.choices(whole[:5] + whole[6:], k=draw.randrange(1, 4)))
    for _ in range(draw.choice([0, 0, 1, 3])):
        at = draw.randrange(len(data) + 1)
        piece = draw.choice([b"", b"\r\n", b"\0", b" ", b"\xff", b"0\r\n\r\n", b":", b"HTTP/1.1"])
        data = data[:at] + piece + data[at + draw.choice([0, 1, 5]) :]
    return data[: draw.randrange(len(data) + 1)] if draw.random() < 0.2 else data


def test_whatever_is_sent_the_answers_are_documented_and_the_connection_ends(front: Service) -> None:
    draw = random.Random(int(os.environ.get("LOADCAST_RAW_SEED", "1")))
    for number in range(RAW_CASES):
        data = pieces(draw)
        half_close = draw.random() < 0.8
        if half_close and draw.random() < 0.3:
            cut = draw.randrange(len(data) + 1)
            with front.connect() as client:
                client.sendall(data[:cut])
                time.sleep(0.001)
                client.sendall(data[cut:])
                client.shutdown(socket.SHUT_WR)
                said = read_all(client)
        else:
            said = front.exchange(data if half_close else data + LAST, half_close=half_close)
        for answer in parse(said):
            assert answer.status in DOCUMENTED, (number, data)
            assert json.loads(answer.body)
    assert one(front.exchange(LAST)).status == 200


def test_a_thousand_slow_connections_hold_nobody_else() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
    with running_front(2, address_connections=1_000) as front:
        beginnings = (b"", b"GET / HTTP/1.1\r\n", POST % 100 + b"x")
        clients = [front.connect() for _ in range(1_000)]
        for number, client in enumerate(clients):
            client.sendall(beginnings[number % 3])
        kept = front.connect()
        for _ in range(20):
            assert one(front.exchange(LAST)).status == 200
            kept.sendall(GET)
            assert parse(kept.recv(1 << 16))[0].status == 200
        for client in [*clients, kept]:
            client.close()


def test_a_new_connection_takes_the_place_of_the_slowest_of_its_address() -> None:
    with running_front(1, address_connections=3) as front:
        slow, idle, active = front.connect(), front.connect(), front.connect()
        slow.sendall(b"GET / HT")
        active.sendall(GET)
        active.recv(1 << 16)
        time.sleep(0.1)
        with front.connect("127.0.0.2") as other:
            other.sendall(LAST)
            assert one(read_all(other)).status == 200
        with front.connect() as fourth, front.connect() as fifth:
            assert_refused(one(read_all(slow)), 408)
            assert read_all(idle) == b""
            for client in (active, fourth, fifth):
                client.sendall(LAST)
                assert one(read_all(client)).status == 200
        for client in (slow, idle, active):
            client.close()


def test_the_end_loses_no_request_and_tells_clients_to_go() -> None:
    with running_front(2, drain_s=30.0, head_s=30.0) as front:
        idle, slow, half = front.connect(), front.connect(), front.connect()
        idle.sendall(GET)
        idle.recv(1 << 16)
        half.sendall(GET[:-2])
        problems, answers = [], []

        def ask_until_the_service_says_that_it_ends() -> None:
            while not (answers and answers[-1].json["environ"]["loadcast.draining"]):
                try:
                    answers.append(one(front.exchange(LAST)))
                except OSError as error:
                    problems.append(error)
                    return

        askers = [threading.Thread(target=ask_until_the_service_says_that_it_ends) for _ in range(4)]
        for asker in askers:
            asker.start()
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        front.process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join()
        half.sendall(GET[-2:])
        idle.sendall(GET)
        for client in (slow, half, idle):
            answer = one(read_all(client))
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            client.close()
        assert front.process.wait(timeout=60) == 143
        assert problems == []
        assert {answer.status for answer in answers} == {200}


def test_a_killed_worker_is_replaced_and_only_its_requests_are_lost() -> None:
    with running_front(2) as front:
        lost = 0
        for _ in range(3):
            os.kill(front.workers()[0], signal.SIGKILL)
            end_s = time.monotonic() + 1.0
            while time.monotonic() < end_s:
                try:
                    assert one(front.exchange(LAST)).status == 200
                except (ConnectionError, ValueError):
                    lost += 1
        assert lost <= 3
        while len(front.workers()) < 2:
            time.sleep(0.05)
