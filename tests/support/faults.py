"""A proxy in front of a blob server that does what networks and busy servers do: 503, cuts, stalls, drips, outages.

SharedKey and SAS signatures cover a request's path and not its host, so clients need nothing but the other address.
"""

from __future__ import annotations

import http.client
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

UNAVAILABLE, CUT, STALLED, DRIPPED = "unavailable", "cut", "stalled", "dripped"
TRUNCATED, FLIPPED, PORTAL, OUTAGE = "truncated", "flipped", "portal", "outage"
KINDS = (UNAVAILABLE, CUT, STALLED, DRIPPED, TRUNCATED, FLIPPED, PORTAL)
HOP_HEADERS = ("connection", "expect", "keep-alive", "transfer-encoding")
BUSY = b'<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code><Message>Busy.</Message></Error>'
LOGIN_PAGE = b"<!DOCTYPE html><html><body>Welcome to our network. Please log in.</body></html>"
NO_BODY_STATUSES = (204, 304)
UPSTREAM_TIMEOUT_S = 60


@dataclass(frozen=True)
class Request:
    """A request as the proxy met it. `number` counts from 1."""

    number: int
    method: str
    path: str


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, where in the answer (a share of its length), and a coin for its variant."""

    kind: str
    place: float
    coin: bool


@dataclass(frozen=True)
class FaultPlan:
    """What goes wrong: shares (0 to 1) of the requests, drawn in their order from `seed`.

    `cut`: the connection ends at a random byte of the answer's body, or before the answer where it has none: the server
    has then done what it was asked. `stalled`: the answer rests for `stall_s` at a random byte. `dripped`: from a
    random byte of its head or body on it comes byte by byte, one every `drip_s`. `truncated`: the body ends at a random
    byte, in good order and without a length. `flipped`: one bit of the request's body is another, or of the answer's
    where that has none. `portal`: a login page answers, and the request is not passed on. `outages`: the numbers of
    requests, and the seconds for which from them on all connections are cut. `before` is called with each request
    before it is passed on, and all others wait for it meanwhile. `applies`: which requests the shares are of.
    """

    seed: int = 0
    unavailable: float = 0.0
    cut: float = 0.0
    stalled: float = 0.0
    dripped: float = 0.0
    truncated: float = 0.0
    flipped: float = 0.0
    portal: float = 0.0
    outages: tuple[tuple[int, float], ...] = ()
    stall_s: float = 5.0
    drip_s: float = 1.0
    retry_after_s: int = 1
    before: Callable[[Request], object] = lambda request: None
    applies: Callable[[Request], bool] = lambda request: True

    def draw(self, chance: random.Random) -> Fault | None:
        """What the next request meets; always as many draws, so that each number's fault follows from the seed."""
        draw, place, coin = chance.random(), chance.random(), chance.random()
        for kind in KINDS:
            share: float = getattr(self, kind)
            if draw < share:
                return Fault(kind, place, coin < 0.5)
            draw -= share
        return None

    def is_eventful(self, requests: int) -> bool:
        """Whether any of the first requests, so many of them, meets a fault."""
        chance = random.Random(self.seed)
        return any(self.draw(chance) for _ in range(requests))


def once(matches: Callable[[Request], bool], action: Callable[[], object]) -> Callable[[Request], None]:
    """For FaultPlan.before: do something before the first request that matches."""
    waiting = [action]

    def before(request: Request) -> None:
        if waiting and matches(request):
            waiting.pop()()

    return before


class FaultProxy:
    """Passes requests on to a blob server; `set_plan` may be called at any time.

    `done` counts requests ("requests") and faults by kind; `seen` lists the requests; `errors` is what failed in the
    proxy itself, or in the server behind it: a test asserts that it is empty.
    """

    def __init__(self, target: str, plan: FaultPlan | None = None) -> None:
        address = urlsplit(target)
        self.host, self.port = address.hostname or "", address.port or 80
        self.done: Counter[str] = Counter()
        self.seen: list[Request] = []
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._away_until = 0.0
        self._open: set[socket.socket] = set()
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}{address.path}"
        self.set_plan(plan or FaultPlan())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def set_plan(self, plan: FaultPlan) -> None:
        """Follow another plan, and count anew."""
        with self._lock:
            self.plan, self._random, self._away_until = plan, random.Random(plan.seed), 0.0
            self.done.clear()
            self.seen.clear()
            self.errors.clear()

    def start(self) -> None:
        """Take requests."""
        self._thread.start()

    def stop(self) -> None:
        """End, with all connections, also the ones at work."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        self._server.server_close()  # waits for the threads of all connections

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Count a request, call what is to be called before it, and draw what happens to it."""
        with self._lock:
            self.done["requests"] += 1
            request = Request(self.done["requests"], method, path)
            self.seen.append(request)
            self.plan.before(request)
            self._begin_outage(request.number)
            fault = self.plan.draw(self._random)
            if fault is None or not self.plan.applies(request):
                return None
            self.done[fault.kind] += 1
            return fault

    @property
    def is_away(self) -> bool:
        """Whether there is an outage."""
        return time.monotonic() < self._away_until

    def _begin_outage(self, number: int) -> None:
        seconds = dict(self.plan.outages).get(number)
        if seconds is not None:
            self.done[OUTAGE] += 1
            self._away_until = time.monotonic() + seconds
            for connection in self._open:
                _shut(connection)

    def opened(self, connection: socket.socket) -> None:
        """Know a client's connection, to end it with the proxy."""
        with self._lock:
            self._open.add(connection)
            if self.stopping.is_set():
                _shut(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a client's connection."""
        with self._lock:
            self._open.discard(connection)


@contextmanager
def fault_proxy(target: str, plan: FaultPlan | None = None) -> Iterator[FaultProxy]:
    """A running proxy in front of `target`, an account's address; it follows `plan`, without one it only passes on."""
    proxy = FaultProxy(target, plan)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False  # so that closing the server waits for them

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def verify_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> bool:
        """Nobody gets in during an outage."""
        return not self.proxy.is_away

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close at once: an orderly end before it would make a reset one, too."""
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error; anything else is for the test to see."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            self.proxy.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.server.proxy.opened(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.proxy.closed(self.connection)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def pass_on(self) -> None:
        """One request: to the server and back, with the fault that is drawn for it."""
        if "transfer-encoding" in self.headers:
            self.send_error(501, "The proxy takes bodies of a known length only")
            return
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = proxy.next_fault(self.command, self.path)
        if proxy.is_away:
            self._cut(reset=True)
            return
        if fault is not None and fault.kind == UNAVAILABLE:
            self._refuse(proxy.plan.retry_after_s if fault.coin else None)
            return
        if fault is not None and fault.kind == PORTAL:
            page = b"" if self.command == "HEAD" else LOGIN_PAGE
            self.wfile.write(self._head(200, "OK", [("Content-Type", "text/html")], page) + page)
            return
        if fault is not None and fault.kind == FLIPPED and body:
            body, fault = _flipped(body, fault.place), None
        self._answer(fault, *self._ask(body))

    def _answer(
        self, fault: Fault | None, status: int, reason: str, headers: list[tuple[str, str]], answer: bytes
    ) -> None:
        """Send the server's answer, with the fault, if any."""
        proxy = self.server.proxy
        if fault is not None and fault.kind == TRUNCATED and answer:
            self.close_connection = True
            head = self._head(status, reason, headers, None)
            self.wfile.write(head + answer[: int(fault.place * len(answer))])
            return
        if fault is not None and fault.kind == FLIPPED and answer:
            answer = _flipped(answer, fault.place)
        head = self._head(status, reason, headers, answer)
        if fault is None or fault.kind in {TRUNCATED, FLIPPED}:
            self.wfile.write(head + answer)
            return
        place = len(head) + int(fault.place * len(answer)) if answer else 0
        if fault.kind == DRIPPED and (fault.coin or not answer):
            place = int(fault.place * len(head))
        self.wfile.write((head + answer)[:place])
        if fault.kind == CUT:
            self._cut(reset=fault.coin)
        elif fault.kind == DRIPPED:
            self._drip((head + answer)[place:])
        else:
            proxy.stopping.wait(proxy.plan.stall_s)
            self.wfile.write((head + answer)[place:])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = pass_on

    def _drip(self, rest: bytes) -> None:
        """Until all is sent, or nobody wants it any more."""
        for number in range(len(rest)):
            if self.server.proxy.stopping.wait(self.server.proxy.plan.drip_s):
                return
            self.wfile.write(rest[number : number + 1])

    def _ask(self, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(
            self.server.proxy.host, self.server.proxy.port, timeout=UPSTREAM_TIMEOUT_S
        )
        try:
            # A connection of its own for each request: one that rests may be closed by the server just when it is used.
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_HEADERS:
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            return answer.status, answer.reason, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.server.proxy.errors.append(error)
            self.close_connection = True
            raise ConnectionAbortedError("the server behind the proxy does not answer") from error
        finally:
            upstream.close()

    def _head(self, status: int, reason: str, headers: list[tuple[str, str]], answer: bytes | None) -> bytes:
        kept = [(name, value) for name, value in headers if name.lower() not in HOP_HEADERS]
        # A body that came in chunks has no length yet. Without a body, the length says something else, or nothing.
        if self.command != "HEAD" and status not in NO_BODY_STATUSES:
            kept = [(name, value) for name, value in kept if name.lower() != "content-length"]
            kept.append(("Connection", "close") if answer is None else ("Content-Length", str(len(answer))))
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in kept), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def _refuse(self, retry_after_s: int | None) -> None:
        headers = [("Content-Type", "application/xml"), ("x-ms-error-code", "ServerBusy")]
        if retry_after_s is not None:
            headers.append(("Retry-After", str(retry_after_s)))
        body = b"" if self.command == "HEAD" else BUSY
        self.wfile.write(self._head(503, "The server is busy.", headers, body) + body)

    def _cut(self, *, reset: bool) -> None:
        """End the connection: with a reset, as when a machine goes, or in good order, as a proxy does."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            _shut(self.connection)


def _flipped(data: bytes, place: float) -> bytes:
    index = int(place * len(data))
    return b"".join((data[:index], bytes([data[index] ^ 1]), data[index + 1 :]))


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        return
