"""One connection: bytes in, whole requests to the front, answers out, and a deadline for whatever it waits for.

Requests are answered one after another, in their order; a client that sends more of them at once is not read from
meanwhile. A refusal is the connection's last answer: it is half closed then, and what still comes is thrown away for a
while, as a client that is sending would otherwise see a reset instead of the answer.
"""

from __future__ import annotations

import asyncio
import enum
import math
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

import httptools

from loadcast.serving.front.limits import Limits
from loadcast.serving.front.message import Message, Refused
from loadcast.serving.front.replies import CONTINUE, Answer, refusal, rendered

_WRITE_BUFFER = 256 << 10
_NEVER = math.inf
_AT_ONCE = struct.pack("ii", 1, 0)


class State(enum.Enum):
    """What a connection waits for."""

    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    BUSY = "an answer"
    LINGER = "the client's end"


class Owner(Protocol):
    """What a connection needs of the worker that it belongs to. `buffered_bytes` are of bodies that nobody works on."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    is_draining: bool
    buffered_bytes: int
    count_refusal: Callable[[int], None]

    def admit(self, connection: Connection) -> bool:
        """Let it in, or not."""

    def release(self, connection: Connection) -> None:
        """It asks for nothing more."""

    def forget(self, connection: Connection) -> None:
        """It has ended."""

    def answer(self, message: Message, client: tuple[str, int], then: Callable[[Answer], None]) -> None:
        """Answer a request, now or later."""


class Connection(asyncio.Protocol):
    """A client's connection; all of its methods are called by the event loop."""

    def __init__(self, front: Owner, client: tuple[str, int]) -> None:
        self.client = client
        self.state = State.IDLE
        self.since = time.monotonic()
        self.deadline = self.since + (front.limits.head_s if front.is_draining else front.limits.idle_s)
        self._front = front
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._message = Message()
        self._waiting: deque[Message | Refused] = deque()
        self._in_head = self._is_busy = self._is_refused = self._is_blocked = self._has_ended = False
        self._head_bytes = self._raw_bytes = 0
        self.n_answers = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        if not self._front.admit(self):
            self.refuse(Refused(503, "There are too many connections, wanted fewer. Try again a little later."))

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_refused = True
        self._drop_body()
        self._drop_waiting()
        self._front.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        begins = self.state is State.IDLE
        if begins:
            self._wait(State.HEAD, self._front.limits.head_s)
        self._raw_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing but HTTP/1.1 is spoken here: the request is answered as it is, and what follows it is not read.
            self._has_ended = True
        except httptools.HttpParserError as error:
            self._reject(Refused(400, f"The request is malformed: {str(error)[:100] or type(error).__name__}."))
        if self.state is State.HEAD and self._raw_bytes > self._front.limits.head_bytes + len(data):
            self._reject(self._too_large_head())
        self._go_on()

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked for is answered all the same."""
        if self._is_refused:
            return False
        self._has_ended = True
        if self.state in (State.HEAD, State.BODY):
            self._reject(Refused(400, "The request ended before it was whole."))
        self._go_on()
        return self._is_busy or bool(self._waiting)

    def pause_writing(self) -> None:
        self._is_blocked = True
        self.deadline = time.monotonic() + self._front.limits.body_s

    def resume_writing(self) -> None:
        self._is_blocked = False
        self._go_on()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._message, self._in_head, self._head_bytes, self._raw_bytes = Message(), True, 0, 0

    def on_url(self, url: bytes) -> None:
        self._message.target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self._is_refused:
            self._message.headers.append((name.lower(), value))
            self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._is_refused:
            return
        message = self._message
        message.method, message.version = self._parser.get_method(), self._parser.get_http_version()
        message.keeps_alive = self._parser.should_keep_alive()
        try:
            message.check()
            self._check_length(message)
        except Refused as refused:
            self._reject(refused)
            return
        self._wait(State.BODY, self._front.limits.body_s)
        if message.header(b"expect") is not None and not self._is_busy and not self._waiting:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._is_refused:
            return
        self._message.body += body
        self._front.buffered_bytes += len(body)
        if len(self._message.body) > self._front.limits.body_bytes:
            self._reject(self._too_large_body())
        elif self._front.buffered_bytes > self._front.limits.buffered_bytes:
            self._reject(Refused(503, "Too many large requests arrive at once. Try again a little later."))

    def on_message_complete(self) -> None:
        if not self._is_refused:
            self._waiting.append(self._message)
            self._message = Message()
            self._wait(State.IDLE, self._front.limits.idle_s)

    # What the front calls.

    def expire(self) -> None:
        """The time is up for what this waits for."""
        if self._is_blocked or self.state is State.LINGER or self._is_refused:
            self._abort()
        elif self.state is State.IDLE:
            self.close()
        else:
            self.refuse(Refused(408, f"The time is up for {self.state.value}. Send it faster."))

    def refuse(self, refused: Refused) -> None:
        """Answer this as soon as what was asked before is answered, and close."""
        self._reject(refused)
        self._go_on()

    def close(self) -> None:
        """Close once all that was written is sent, or at once where the client does not read it."""
        if self._transport.get_write_buffer_size():
            self._abort()
        else:
            self._transport.close()

    def _abort(self) -> None:
        """End at once; what the system still holds for a client that does not read is thrown away, too."""
        with suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    # Its own.

    def _wait(self, state: State, seconds: float) -> None:
        self.state = state
        if not self._is_blocked:
            self.since = time.monotonic()
            self.deadline = self.since + seconds

    def _count_head(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > self._front.limits.head_bytes:
            self._reject(self._too_large_head())

    def _check_length(self, message: Message) -> None:
        length = message.header(b"content-length")
        if length is not None and int(length) > self._front.limits.body_bytes:
            raise self._too_large_body()
        expected = message.header(b"expect")
        if expected is not None and expected.lower() != b"100-continue":
            raise Refused(400, "Expect: wanted 100-continue or none.")

    def _too_large_head(self) -> Refused:
        return Refused(431, f"The head is too large, wanted at most {self._front.limits.head_bytes} bytes.")

    def _too_large_body(self) -> Refused:
        most = self._front.limits.body_bytes
        return Refused(413, f"The body is too large, wanted at most {most} bytes. Send smaller batches.")

    def _reject(self, refused: Refused) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._drop_body()
            self._waiting.append(refused)

    def _drop_body(self) -> None:
        """Give back the room of a body that will not be whole."""
        self._front.buffered_bytes -= len(self._message.body)
        self._message = Message()

    def _drop_waiting(self) -> None:
        """The same for requests that nobody will answer."""
        self._front.buffered_bytes -= sum(len(item.body) for item in self._waiting if isinstance(item, Message))
        self._waiting.clear()

    def _go_on(self) -> None:
        if self._is_busy or self._is_blocked or self._transport.is_closing() or self.state is State.LINGER:
            self._read_on(False)
        elif self._waiting:
            self._read_on(False)
            self._answer(self._waiting.popleft())
        elif self._has_ended:
            self._linger()
        else:
            self._read_on(True)

    def _read_on(self, wanted: bool) -> None:
        if self.state is State.LINGER or self._transport.is_closing():
            return
        with suppress(RuntimeError):  # older event loops mind being asked twice
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _answer(self, item: Message | Refused) -> None:
        if isinstance(item, Refused):
            self._front.count_refusal(item.status)
            self._write(refusal(item.status, item.detail, item.headers), Message(), keeps_alive=False)
            return
        self._is_busy, state, deadline = True, self.state, self.deadline
        self.deadline = _NEVER
        if state is State.IDLE:
            self.state = State.BUSY
        self._front.buffered_bytes -= len(item.body)
        self._front.answer(item, self.client, lambda answer: self._answered(item, answer, state, deadline))

    def _answered(self, message: Message, answer: Answer, state: State, deadline: float) -> None:
        self._is_busy = False
        if self._transport.is_closing():
            return
        self.n_answers += 1
        self.state, self.since = state, time.monotonic()
        # A request that began to arrive meanwhile has its time from now on.
        self.deadline = deadline if state is State.IDLE else max(deadline, self.since + self._front.limits.head_s)
        if state is State.IDLE:
            self.deadline = self.since + self._front.limits.idle_s
        keeps_alive = message.keeps_alive and not self._front.is_draining and not self._has_ended
        self._write(answer, message, keeps_alive)

    def _write(self, answer: Answer, message: Message, keeps_alive: bool) -> None:
        self._transport.write(rendered(answer, message, keeps_alive))
        if not keeps_alive:
            self._linger()
        elif self._waiting:
            # Others have their turn between two requests of one client.
            self._front.loop.call_soon(self._go_on)
        else:
            self._go_on()

    def _linger(self) -> None:
        self._is_refused = True
        self._drop_body()
        self._drop_waiting()
        self._front.release(self)
        if self._transport.is_closing():
            return
        self.deadline = time.monotonic() + self._front.limits.linger_s
        self._read_on(True)
        self.state = State.LINGER
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
