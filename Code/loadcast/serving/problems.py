"""Faults as the service answers them: problem details by RFC 9457, whichever layer refuses a request.

Nothing here knows Flask, so that the HTTP front's own refusals look like those of the application.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

PROBLEM_JSON = "application/problem+json"
#: Where the kinds of problems are described: `type` is a path below.
PREFIX = "/problems/"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: what stands behind /problems/ in its `type`, its status, its title, and what to do."""

    name: str
    status: int
    title: str
    remedy: str


_KINDS = (
    Kind("request", 400, "The request is malformed", "Send a request that HTTP and JSON allow."),
    Kind("contract", 400, "The batch breaks the contract", "Correct the values that `problems` names; see /docs."),
    Kind("key", 401, "The key is missing or wrong", "Send the header Authorization: Bearer <key>."),
    Kind("not-found", 404, "There is nothing here", "GET / lists what there is."),
    Kind("method", 405, "The method is not possible here", "The header Allow says which are."),
    Kind("timeout", 408, "The request took too long to arrive", "Send it again, and faster."),
    Kind("too-large", 413, "The request is too large", "Send smaller batches."),
    Kind("media-type", 415, "The body is of another type", "Send application/json in UTF-8, not compressed."),
    Kind("rate", 429, "Too many requests for this key", "Wait for as many seconds as the header Retry-After says."),
    Kind("head-too-large", 431, "The head of the request is too large", "Send fewer and shorter headers."),
    Kind("failure", 500, "The service failed", "Its log says why; `instance` is the request's id there."),
    Kind("unavailable", 503, "The service cannot answer now", "Try again a little later."),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
#: The kind of each status, unless another is named.
BY_STATUS: Mapping[int, Kind] = {kind.status: kind for kind in reversed(_KINDS)}


def problem(status: int, title: str | None, detail: str, **more: Any) -> bytes:
    """The body of a fault, of media type PROBLEM_JSON.

    `title` None stands for that of the kind. `more` are further members: `kind` (a name in KINDS, else the status
    decides), `instance` (the request's id), `problems` with `problem_count`, and whatever else a client may need.
    The member `error` repeats detail and problems, as before there were problem details.
    """
    named = more.pop("kind", None)
    kind = KINDS[named] if named else BY_STATUS.get(status)
    error: dict[str, Any] = {
        "message": detail,
        **{name: more[name] for name in ("problems", "problem_count") if name in more},
    }
    body = {
        "type": PREFIX + kind.name if kind else "about:blank",
        "title": title or (kind.title if kind else "The request was refused"),
        "status": status,
        "detail": detail,
        "error": error,
        **more,
    }
    # A text may hold half a surrogate pair, which came with the request and no UTF-8 can say.
    return orjson.dumps(_sayable(body))


def _sayable(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_sayable(name): _sayable(part) for name, part in value.items()}
    return [_sayable(part) for part in value] if isinstance(value, list) else value
