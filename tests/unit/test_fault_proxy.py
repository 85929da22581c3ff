"""The fault proxy itself: it passes everything on unchanged, and does each fault at the place drawn for it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from faults import FaultPlan, FaultProxy, Request, fault_proxy, once

BODY = bytes(range(256)) * 400


class Echo(BaseHTTPRequestHandler):
    """Answers GET with BODY (in chunks below /chunks), HEAD with its length, PUT with what came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        chunked = self.path.startswith("/account/chunks")
        self.send_response(200)
        self.send_header("x-ms-path", self.path)
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(BODY)))))
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.puts.append(body)  # type: ignore[attr-defined]
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Target(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.puts: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Echo)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/account"


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    proxy: FaultProxy, method: str = "GET", path: str = "/x", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    address = urlsplit(proxy.endpoint)
    client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        client.request(method, address.path + path, body)
        answer = client.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        client.close()


def test_it_passes_on_what_it_gets(target: Target) -> None:
    with fault_proxy(target.url) as proxy:
        status, headers, body = ask(proxy, path="/a%20b/%C3%BC?sig=x%2By&comp=list")
        assert (status, body, headers["x-ms-path"]) == (200, BODY, "/account/a%20b/%C3%BC?sig=x%2By&comp=list")
        assert ask(proxy, path="/chunks")[2] == BODY
        assert ask(proxy, "PUT", body=BODY)[0] == 201
        assert ask(proxy, "HEAD")[1]["content-length"] == str(len(BODY))
        assert ask(proxy, "DELETE")[0] == 204
    assert target.puts == [BODY]
    assert proxy.done == {"requests": 5}
    assert [request.method for request in proxy.seen] == ["GET", "GET", "PUT", "HEAD", "DELETE"]
    assert proxy.errors == []


def test_a_connection_serves_many_requests(target: Target) -> None:
    with fault_proxy(target.url) as proxy:
        address = urlsplit(proxy.endpoint)
        client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        for method in ("GET", "HEAD", "DELETE", "PUT", "GET") * 3:
            client.request(method, f"{address.path}/x", b"1" if method == "PUT" else None)
            assert client.getresponse().read() == (BODY if method == "GET" else b"")
        # The client's connection is still open: the proxy ends all the same.
    client.close()
    assert proxy.done == {"requests": 15}


def test_a_busy_server_is_not_asked_and_says_sometimes_when_to_come_again(target: Target) -> None:
    with fault_proxy(target.url, FaultPlan(unavailable=1.0, retry_after_s=7)) as proxy:
        answers = [ask(proxy, "PUT", body=b"1") for _ in range(20)]
    assert {status for status, _, _ in answers} == {503}
    assert all(b"<Code>ServerBusy</Code>" in body for _, _, body in answers)
    assert {headers.get("retry-after") for _, headers, _ in answers} == {None, "7"}
    assert target.puts == []
    assert proxy.done == {"requests": 20, "unavailable": 20}


def test_connections_are_cut_in_the_body_in_two_ways(target: Target) -> None:
    lengths, errors = set(), set()
    with fault_proxy(target.url, FaultPlan(seed=1, cut=1.0)) as proxy:
        for _ in range(20):
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as caught:
                ask(proxy)
            errors.add(caught.type)
            if isinstance(caught.value, http.client.IncompleteRead):
                lengths.add(len(caught.value.partial))
    assert errors == {http.client.IncompleteRead, ConnectionResetError}
    assert len(lengths) > 3
    assert max(lengths) < len(BODY)
    assert proxy.done == {"requests": 20, "cut": 20}


def test_an_answer_without_a_body_is_cut_before_it_begins_and_after_the_server_has_done_it(target: Target) -> None:
    with fault_proxy(target.url, FaultPlan(cut=1.0)) as proxy:
        for _ in range(6):
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                ask(proxy, "PUT", body=b"1")
    assert target.puts == [b"1"] * 6


def test_a_stalled_answer_rests_and_then_comes_whole(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    with fault_proxy(target.url, FaultPlan(stalled=1.0, stall_s=5)) as proxy:
        monkeypatch.setattr(proxy.stopping, "wait", rests.append)
        assert ask(proxy)[2] == BODY
        assert ask(proxy, "DELETE")[0] == 204
    assert rests == [5, 5]
    assert proxy.done == {"requests": 2, "stalled": 2}


@pytest.mark.parametrize("path", ["/x", "/chunks"])
def test_a_truncated_answer_ends_in_good_order(target: Target, path: str) -> None:
    for seed in range(5):
        with fault_proxy(target.url, FaultPlan(seed, truncated=1.0)) as proxy:
            status, headers, body = ask(proxy, path=path)
            assert (status, headers["connection"]) == (200, "close")
            assert "content-length" not in headers
            assert len(body) < len(BODY)
            assert BODY.startswith(body)
            assert ask(proxy, "HEAD")[1]["content-length"] == str(len(BODY))


def test_a_flipped_bit_is_one_bit_of_what_is_sent_or_of_the_answer(target: Target) -> None:
    with fault_proxy(target.url, FaultPlan(1, flipped=1.0)) as proxy:
        body = ask(proxy)[2]
        assert ask(proxy, "PUT", body=BODY)[0] == 201
    for received in (body, target.puts[0]):
        assert len(received) == len(BODY)
        assert sum((byte ^ other).bit_count() for byte, other in zip(received, BODY, strict=True)) == 1


def test_a_login_page_is_no_answer_of_the_server(target: Target) -> None:
    with fault_proxy(target.url, FaultPlan(portal=1.0)) as proxy:
        status, headers, body = ask(proxy, "PUT", body=b"1")
        assert (status, headers["content-type"]) == (200, "text/html")
        assert body.startswith(b"<!DOCTYPE html>")
        assert ask(proxy, "HEAD")[0] == 200
    assert target.puts == []


@pytest.mark.parametrize("seed", range(4))
def test_a_drip_comes_byte_by_byte_and_then_whole(target: Target, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with fault_proxy(target.url, FaultPlan(seed, dripped=1.0, drip_s=7)) as proxy:
        monkeypatch.setattr(proxy.stopping, "wait", waits.append)
        assert ask(proxy)[2] == BODY
        for_body = len(waits)
        assert ask(proxy, "DELETE")[0] == 204
    assert set(waits) == {7}
    assert 0 < for_body < len(waits)


def test_nobody_gets_through_during_an_outage(target: Target) -> None:
    def is_through() -> bool:
        try:
            return ask(proxy)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    with fault_proxy(target.url, FaultPlan(outages=((2, 0.5),))) as proxy:
        address = urlsplit(proxy.endpoint)
        with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)) as open_before:
            open_before.request("GET", "/account/x")
            assert open_before.getresponse().read() == BODY
            assert not is_through()
            open_before.auto_open = 0
            with pytest.raises((OSError, http.client.HTTPException)):
                _ = open_before.request("GET", "/account/x"), open_before.getresponse()
        began = time.monotonic()
        while not is_through():
            assert time.monotonic() - began < 30
            time.sleep(0.05)
    assert proxy.done["outage"] == 1
    assert proxy.errors == []


def test_the_end_of_the_proxy_waits_for_no_stall(target: Target) -> None:
    failures: list[BaseException] = []

    def stalled() -> None:
        try:
            ask(proxy)
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)

    with fault_proxy(target.url, FaultPlan(stalled=1.0, stall_s=3600)) as proxy:
        client = threading.Thread(target=stalled)
        client.start()
        while not proxy.done["stalled"]:
            time.sleep(0.01)
    client.join(30)
    assert not client.is_alive()


def test_shares_and_places_follow_the_seed(target: Target) -> None:
    def draws(seed: int) -> list[object]:
        proxy.set_plan(FaultPlan(seed, unavailable=0.1, cut=0.1, stalled=0.1))
        return [proxy.next_fault("GET", "/x") for _ in range(3000)]

    with fault_proxy(target.url) as proxy:
        first, again, other = draws(1), draws(1), draws(2)
        assert first == again != other
        assert proxy.done["requests"] == 3000
        for kind in ("unavailable", "cut", "stalled"):
            assert 230 < proxy.done[kind] < 370


def test_a_plan_tells_whether_anything_will_happen(target: Target) -> None:
    plans = [FaultPlan(seed, unavailable=0.1) for seed in range(20)]
    assert {plan.is_eventful(8) for plan in plans} == {True, False}
    with fault_proxy(target.url) as proxy:
        for plan in plans:
            proxy.set_plan(plan)
            assert plan.is_eventful(8) is any(proxy.next_fault("GET", "/x") for _ in range(8))


def test_only_the_chosen_requests_meet_faults(target: Target) -> None:
    with fault_proxy(target.url, FaultPlan(unavailable=1.0, applies=lambda request: request.method == "GET")) as proxy:
        assert ask(proxy)[0] == 503
        assert ask(proxy, "PUT", body=b"1")[0] == 201
    assert proxy.done == {"requests": 2, "unavailable": 1}


def test_something_can_be_done_before_a_request_is_passed_on(target: Target) -> None:
    seen: list[int] = []
    with fault_proxy(target.url) as proxy:
        proxy.set_plan(
            FaultPlan(before=once(lambda request: request.number >= 2, lambda: seen.append(len(target.puts))))
        )
        for _ in range(3):
            ask(proxy, "PUT", body=b"1")
    assert seen == [1]
    assert proxy.seen == [Request(number, "PUT", "/account/x") for number in (1, 2, 3)]


def test_a_server_that_is_not_there_is_an_error_of_the_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/account"
    with fault_proxy(nobody) as proxy, pytest.raises(http.client.RemoteDisconnected):
        ask(proxy)
    assert [type(error) for error in proxy.errors] == [ConnectionRefusedError]


def test_a_body_of_unknown_length_is_refused(target: Target) -> None:
    with fault_proxy(target.url) as proxy:
        address = urlsplit(proxy.endpoint)
        client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        client.putrequest("PUT", "/x")
        client.putheader("Transfer-Encoding", "chunked")
        client.endheaders()
        assert client.getresponse().status == 501
        client.close()
    assert target.puts == []
