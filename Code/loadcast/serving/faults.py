"""Errors as answers: which status, what a client may know, and what only the log is told."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from loadcast.errors import AuthError, LoadcastError, RequestError
from loadcast.logs.events import SERVICE
from loadcast.printable import printable
from loadcast.serving.exchange import Exchange, Reply
from loadcast.serving.problems import PROBLEM_JSON, problem
from loadcast.serving.request_contract import ContractError

#: Below this path the open inference protocol rules, in which `error` is a text.
INFERENCE = "/v2"
Headers = tuple[tuple[str, str], ...]


class NotFoundError(RequestError):
    """What was asked for does not exist here."""

    http_status: ClassVar[int] = 404


class MediaTypeError(RequestError):
    """The body is of another type, character set or coding than the service takes."""

    http_status: ClassVar[int] = 415


class RateError(RequestError):
    """A key was used more often than it may be; it may again in `wait_s` seconds."""

    http_status: ClassVar[int] = 429

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def fault(exchange: Exchange, status: int, detail: str, headers: Headers = (), **more: Any) -> Reply:
    """The answer to a request that is refused; see problems.problem for `more`."""
    detail = printable(detail)
    if exchange.path.startswith(INFERENCE):
        more["error"] = detail
    body = problem(status, None, detail, instance=exchange.request_id, **more)
    return Reply(status, body, PROBLEM_JSON, headers)


def reply_to(error: Exception, exchange: Exchange) -> Reply:
    """The answer to a request that ended in `error`; what nobody foresaw goes to the log and not to the client."""
    if not isinstance(error, LoadcastError):
        SERVICE.error("a request failed", exc_info=error)
        return fault(exchange, 500, "The service failed at this request. Its log says why.")
    if not isinstance(error, RequestError):
        return fault(exchange, error.http_status, str(error))
    is_contract = isinstance(error, ContractError)
    count = error.problem_count if isinstance(error, ContractError) else len(error.problems)
    more: dict[str, Any] = {"problems": error.problems, "problem_count": count}
    if is_contract:
        more["kind"] = "contract"
    return fault(exchange, error.http_status, str(error), _headers(error), **more)


def _headers(error: RequestError) -> Headers:
    if isinstance(error, AuthError):
        return (("WWW-Authenticate", 'Bearer realm="loadcast"'),)
    if isinstance(error, RateError):
        return (("Retry-After", str(max(1, math.ceil(error.wait_s)))),)
    return ()
