"""One event for each request that the service answers. It holds no body, no key, and of the path only the route."""

from __future__ import annotations

import logging
import re
import time
import uuid

from flask import Flask, Response, g, request

from loadcast.logs.events import SERVICE, log_event

REQUEST_ID = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_METHOD = 20


def log_requests(app: Flask, probes: tuple[str, ...]) -> None:
    """Log each request once it is answered, and give it an id, its sender's or a new one, in the header X-Request-ID.

    To be called before other functions of the application's requests are registered, so that none is missed.
    Successful requests of the routes `probes` are events of level debug, failures of the service warnings.
    """

    def begin() -> None:
        sent = request.headers.get(REQUEST_ID, "")
        g.begin_s, g.request_id = time.perf_counter(), sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex

    def log(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        log_event(
            SERVICE,
            _level(response.status_code, route in probes),
            "request",
            "A request was answered.",
            method=request.method[:_LONGEST_METHOD],
            route=route,
            status=response.status_code,
            duration_ms=round(1_000 * (time.perf_counter() - g.begin_s), 3),
            request_id=g.request_id,
            records=g.get("records"),
        )
        response.headers[REQUEST_ID] = g.request_id
        return response

    app.before_request(begin)
    app.after_request(log)


def _level(status: int, is_probe: bool) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if is_probe and status < 400 else logging.INFO
