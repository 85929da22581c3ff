"""What lies around every request: its id, the gate, the short way for plain batches, the log and the counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from loadcast.errors import RequestError
from loadcast.serving.defaults import MAX_BODY_BYTES
from loadcast.serving.exchange import IN_ENVIRON, JSON, NO_ROUTE, REQUEST_ID, Exchange, Reply
from loadcast.serving.faults import NotFoundError, reply_to
from loadcast.serving.request_log import log_request
from loadcast.serving.service import Service

Environ = dict[str, Any]
BatchHandler = Callable[[Service, Exchange, bytes], Reply]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_NOSNIFF = ("X-Content-Type-Options", "nosniff")


@dataclass(frozen=True)
class Paths:
    """What the envelope has to know of paths.

    `open`: those that need no key. `plain`: path → route of those that hold no variable part. `batches`: path → route
    and function of those where batches are scored. `probes`: routes whose success is not worth a line of the log.
    """

    open: frozenset[str]
    plain: Mapping[str, str]
    batches: Mapping[str, tuple[str, BatchHandler]]
    probes: frozenset[str]


class Envelope:
    """The service as a WSGI application: answers plain batches itself and leaves the rest to `inner`.

    A batch is plain that comes as `application/json` with its length. Whatever is odd goes the long way, where all is
    checked; whoever brings no key gets no further than here.
    """

    def __init__(self, inner: WsgiApp, service: Service, paths: Paths) -> None:
        self._inner, self._service, self._paths = inner, service, paths

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        exchange = Exchange.begin(environ)
        environ[IN_ENVIRON] = exchange
        try:
            reply = self._reply(environ, exchange)
        except Exception as error:
            reply = reply_to(error, exchange)
        if reply is None:
            return self._inner(environ, self._ending(exchange, start_response))
        self._end(exchange, reply.status)
        start_response(_STATUS_LINES[reply.status], _headers(reply, exchange))
        return [] if exchange.method == "HEAD" else [reply.body]

    def _reply(self, environ: Environ, exchange: Exchange) -> Reply | None:
        """The reply, or None where the application behind has to find it."""
        path = exchange.path
        exchange.route = self._paths.plain.get(path, NO_ROUTE)
        _make_plain(environ, path)
        if not path.startswith("/"):
            raise RequestError(f"The target {path[:100]!r} is no path, wanted one such as /score.")
        # The application behind would take these for one.
        if path.startswith("//"):
            raise NotFoundError(f"There is nothing at {path[:100]}. GET / lists what there is.")
        if path not in self._paths.open:
            exchange.key = self._service.gate.enter(environ)
        if exchange.method == "POST" and path in self._paths.batches:
            body = _plain_body(environ)
            if body is not None:
                exchange.route, answer = self._paths.batches[path]
                return answer(self._service, exchange, body)
        exchange.route = NO_ROUTE
        return None

    def _ending(self, exchange: Exchange, start_response: Callable[..., Any]) -> Callable[..., Any]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            self._end(exchange, int(status[:3]))
            return start_response(status, [*headers, (REQUEST_ID, exchange.request_id), _NOSNIFF], *more)

        return start

    def _end(self, exchange: Exchange, status: int) -> None:
        duration_s = time.perf_counter() - exchange.begin_s
        self._service.metrics.count(exchange, status, duration_s)
        log_request(exchange, status, duration_s, self._paths.probes)


def _make_plain(environ: Environ, path: str) -> None:
    """Take from a request what its sender may claim about where the service is; headers of proxies nobody reads."""
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = "", path
    environ["SERVER_NAME"] = "localhost"
    environ.pop("HTTP_HOST", None)


def _plain_body(environ: Environ) -> bytes | None:
    """The body of a plain batch; None where the request is any other. Raises RequestError where the body is cut."""
    length = environ.get("CONTENT_LENGTH", "")
    if environ.get("CONTENT_TYPE") != JSON or "HTTP_CONTENT_ENCODING" in environ or not length.isdecimal():
        return None
    n_bytes = int(length[:20])
    if not length.isascii() or n_bytes > MAX_BODY_BYTES or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    body: bytes = environ["wsgi.input"].read(n_bytes)
    if len(body) != n_bytes:
        raise RequestError(f"The body ended after {len(body)} bytes, wanted {n_bytes} as Content-Length says.")
    return body


def _headers(reply: Reply, exchange: Exchange) -> list[tuple[str, str]]:
    return [
        ("Content-Type", reply.media_type),
        ("Content-Length", str(len(reply.body))),
        (REQUEST_ID, exchange.request_id),
        _NOSNIFF,
        *reply.headers,
    ]
