"""Answers as bytes: what the WSGI application gives, and the front's own refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from wsgiref.handlers import format_date_time

from loadcast.logs.events import SERVICE
from loadcast.serving.front.message import Message
from loadcast.serving.problems import PROBLEM_JSON, problem

Headers = Iterable[tuple[str, str]]
#: Status line, headers and body.
Answer = tuple[str, list[tuple[str, str]], bytes]
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_OWN = frozenset(("connection", "date", "server", "keep-alive", "transfer-encoding"))
_WITHOUT_BODY = frozenset((204, 304))
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def call(application: Application, environ: dict[str, Any]) -> Answer:
    """Status line, headers and body of the application's answer; a failure is answered with 500."""
    started: list[Any] = ["", []]

    def start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> Callable[[bytes], None]:
        started[:] = status, headers
        return lambda _: None

    try:
        parts = application(environ, start_response)
        try:
            body = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
    except Exception as error:  # the application answers its own failures; this is one of those that it has there
        SERVICE.error("a request failed", exc_info=error)
        return refusal(500, "The service failed at this request. Its log says why.")
    return started[0], started[1], body


def refusal(status: int, detail: str, headers: Headers = ()) -> Answer:
    """The front's own answer."""
    return _status(status), [("Content-Type", PROBLEM_JSON), *headers], problem(status, None, detail)


def rendered(answer: Answer, message: Message, keeps_alive: bool) -> bytes:
    """An answer's bytes; `keeps_alive` says whether the connection takes another request."""
    status, headers, body = answer
    lines = [f"HTTP/1.1 {status}", f"Date: {_date(int(time.time()))}"]
    has_length = False
    for name, value in headers:
        lowered = name.lower()
        has_length = has_length or lowered == "content-length"
        if lowered not in _OWN:
            lines.append(f"{name}: {value}")
    if not has_length and int(status[:3]) not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {len(body)}")
    if not keeps_alive:
        lines.append("Connection: close")
    elif message.version == "1.0":
        lines.append("Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return head if message.method == b"HEAD" else head + body


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return format_date_time(second)


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
