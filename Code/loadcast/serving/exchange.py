"""A request and its answer, as every layer of the service passes them on; nothing here knows a web framework."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from loadcast.serving.front.message import DRAINING
from loadcast.serving.scored import Scored

JSON = "application/json"
REQUEST_ID = "X-Request-ID"
#: Where the exchange stands among the variables of a WSGI request.
IN_ENVIRON = "loadcast.exchange"
#: The route of a request that matched none.
NO_ROUTE = "none"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, body, the body's media type, and further headers."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def json_reply(body: Any, status: int = 200) -> Reply:
    """A value as JSON."""
    return Reply(status, orjson.dumps(body))


@dataclass(slots=True)
class Exchange:
    """One request, and what the layers come to know of it until it is answered.

    `request_id` is its sender's where that is a short plain word, else a new one. `route` is the rule that it matched,
    `key` says which key it brought, `scored` are the answers that it got. `is_draining` says that the process ends.
    """

    method: str
    path: str
    request_id: str
    route: str = NO_ROUTE
    key: str | None = None
    scored: Scored | None = None
    is_draining: bool = False
    begin_s: float = field(default_factory=time.perf_counter)

    @classmethod
    def begin(cls, environ: Mapping[str, Any]) -> Exchange:
        """The exchange that a WSGI request begins."""
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = sent if sent and _REQUEST_ID.fullmatch(sent) else os.urandom(_ID_BYTES).hex()
        exchange = cls(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "") or "/", request_id)
        exchange.is_draining = environ.get(DRAINING, False)
        return exchange
