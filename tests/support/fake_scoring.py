"""Scoring services that fail in every way a network and a service can, on real sockets of this machine."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import classic
from loadcast import schema
from published import answer_to

#: Status, body and headers of an answer.
Reply = tuple[int, bytes, dict[str, str]]
SERVER = "115.220.193.16"
_LONGEST_S = 10.0


def record(hour: int = 0, server: str = SERVER, **fields: Any) -> dict[str, Any]:
    """A feature record of the first days of July 2016; `hour` counts from their beginning."""
    numbers = dict.fromkeys((classic.LINEAR_TREND, *classic.HISTORY_COLUMNS), 0.0)
    calendar = dict.fromkeys(classic.CALENDAR_COLUMNS, 1) | {"hourofday": hour % 24}
    time_of = f"2016-07-{1 + hour // 24:02d} {hour % 24:02d}:00:00"
    return {schema.SERVER: server, schema.HOUR: time_of, **calendar, **numbers, **fields}


def right_body(records: Sequence[dict[str, Any]]) -> bytes:
    """The answers to records, right in every respect."""
    return json.dumps({str(number): answer_to(item) for number, item in enumerate(records)}).encode()


@dataclass(frozen=True)
class Source:
    """A server with some hours of records."""

    server: str
    hours: int = 48

    def records(self) -> Iterator[dict[str, Any]]:
        return (record(hour, self.server) for hour in range(self.hours))


@dataclass(frozen=True)
class Fault:
    """What a connection does instead of answering whole."""

    name: str
    #: Sends a part of a right answer, whose head and body these are.
    act: Callable[[_Handler, bytes, bytes], None]

    def __repr__(self) -> str:
        return self.name


def _reset(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _hang_up(handler: _Handler, head: bytes, body: bytes) -> None:
    """Nothing at all, then the end."""


def _cut_head(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.wfile.write(head[: len(head) // 2])


def _cut_body(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.wfile.write(head + body[:-1])


def _reset_in_body(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.wfile.write(head + body[: len(body) // 2])
    _reset(handler, head, body)


def _cut_chunks(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body))


def _no_http(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def _drip(handler: _Handler, head: bytes, body: bytes) -> None:
    with suppress(OSError):
        for byte in head + body * 1000:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.02)


def _drip_body(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.wfile.write(head)
    _drip(handler, b"", body)


def _silence(handler: _Handler, head: bytes, body: bytes) -> None:
    handler.server.ended.wait(_LONGEST_S)


BROKEN = [
    Fault("reset", _reset),
    Fault("hung up", _hang_up),
    Fault("head cut", _cut_head),
    Fault("body cut", _cut_body),
    Fault("reset in the body", _reset_in_body),
    Fault("chunks cut", _cut_chunks),
]
NO_HTTP = Fault("no HTTP", _no_http)
SLOW = [Fault("head drips", _drip), Fault("body drips", _drip_body), Fault("silent", _silence)]


class FakeService(ThreadingHTTPServer):
    """Answers each request with what `reply(number, body)` says, counted from 1, and keeps what it was sent."""

    daemon_threads = True
    scheme = "http"

    def __init__(self, reply: Callable[[int, bytes], Reply | Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        #: The client's port of each request: one for each connection.
        self.ports: list[int] = []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.under_way = self.most_under_way = 0

    def handle_error(self, *_: object) -> None:
        """Says nothing where a client hangs up early: some tests are about that."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeService
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written one after the other

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.requests.append((self.path, dict(self.headers), body))
            self.server.ports.append(self.client_address[1])
            number = len(self.server.requests)
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        try:
            reply = self.server.reply(number, body)
        finally:
            with self.server.lock:
                self.server.under_way -= 1
        if isinstance(reply, Fault):
            self._fail(reply, body)
            return
        status, answer, headers = reply
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def _fail(self, fault: Fault, body: bytes) -> None:
        answer = right_body(json.loads(body))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
        self.close_connection = True
        fault.act(self, head, answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def fake_service(
    reply: Callable[[int, bytes], Reply | Fault], tls: ssl.SSLContext | None = None
) -> Iterator[FakeService]:
    """A FakeService that runs as long as the block; with `tls` it speaks that."""
    with FakeService(reply) as service:
        if tls is not None:
            service.socket = tls.wrap_socket(service.socket, server_side=True)
            service.scheme = "https"
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            service.ended.set()
            service.shutdown()
            thread.join()


def answering(body: bytes, status: int = 200, **headers: str) -> Callable[[int, bytes], Reply]:
    """Always the same answer."""
    return lambda _number, _body: (status, body, headers)


def right(body: bytes) -> Reply:
    """The right answer to a request's body."""
    return 200, right_body(json.loads(body)), {}
