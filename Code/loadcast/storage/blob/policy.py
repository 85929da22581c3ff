"""Patience with a server on a network: what is asked again, how long after, and when it is enough.

Azure's own retries are switched off: they know nothing of a body that breaks off or stalls, nor of a run's patience.
"""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import TypeVar

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from loadcast.storage.blob.retries import retry_log

#: Seconds for opening a connection, and for the next bytes of an answer.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 30.0
#: Seconds without a byte after which a read is asked again, on a new connection. Doubled each time it happens, so that
#: a server that is merely slow gets its time.
STALL_TIMEOUT_S = 3.0
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_LONGEST_RETRY_AFTER_S = 30.0
_NETWORK_ERRORS = (
    ServiceRequestError,
    ServiceResponseError,
    RequestException,
    HTTPError,
    HTTPException,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
)

T = TypeVar("T")


class BrokenAnswerError(OSError):
    """The server's answer is not what was asked for: cut short, another range, or damaged on the way."""


@dataclass(frozen=True)
class Patience:
    """How often, and for how many seconds in all, something is asked again."""

    attempts: int = 10
    #: Where the server was never reached: its name is more likely misspelt than the network down.
    first_contact_attempts: int = 3
    deadline_s: float = 240.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0


class Policy:
    """The patience of one process with one server."""

    def __init__(
        self,
        patience: Patience | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience = patience or Patience()
        self.sleep, self.clock = sleep, clock
        self.reached = False

    def call(self, operation: Callable[[Attempts], T], deadline_s: float | None = None) -> T:
        """What `operation` gives. It is called again after transient errors, with the count so far; raises its last."""
        attempts = Attempts(self, deadline_s or self.patience.deadline_s)
        while True:
            try:
                result = operation(attempts)
            except Exception as error:
                attempts.failed(error)
            else:
                self.reached = True
                return result


class Attempts:
    """The attempts of one operation so far."""

    def __init__(self, policy: Policy, deadline_s: float) -> None:
        self._policy = policy
        self._end = policy.clock() + deadline_s
        self.failures = 0

    @property
    def stall_timeout_s(self) -> float:
        """Seconds to wait for the next bytes of what can be asked again at no cost."""
        return float(min(READ_TIMEOUT_S, STALL_TIMEOUT_S * 2**self.failures))

    @property
    def out_of_time(self) -> bool:
        """Whether the operation's deadline has passed."""
        return self._policy.clock() > self._end

    def failed(self, error: Exception) -> None:
        """Wait until it is time for another attempt. Raises the error where there is to be none."""
        policy, patience = self._policy, self._policy.patience
        self.failures += 1
        if isinstance(error, HttpResponseError) and error.response is not None:
            policy.reached = True
        limit = patience.attempts if policy.reached else patience.first_contact_attempts
        pause = pause_s(self.failures, error, patience)
        if not is_transient(error) or self.failures >= limit or policy.clock() + pause > self._end:
            raise error
        retry_log(reasons(error), self.failures, limit, pause)
        policy.sleep(pause)


def pause_s(failures: int, error: Exception, patience: Patience) -> float:
    """Seconds before the next attempt: longer each time, at random, so that many workers do not come back together."""
    longest = min(patience.longest_pause_s, patience.first_pause_s * 2.0 ** (failures - 1))
    return max(random.uniform(longest / 2, longest), _asked_pause_s(error))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, ClientAuthenticationError):
        return False
    if isinstance(error, (IncompleteReadError, BrokenAnswerError)):
        return True
    if isinstance(error, HttpResponseError):
        return error.response is None or error.status_code in _TRANSIENT_STATUS
    if any(isinstance(reason, ssl.SSLCertVerificationError) for reason in reasons(error)):
        return False
    return isinstance(error, _NETWORK_ERRORS)


def reasons(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, wherever the libraries in between have put them."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            inner = getattr(item, "inner_exception", None)
            waiting += [item.__cause__, item.__context__, inner, getattr(item, "reason", None), *item.args]


def _asked_pause_s(error: Exception) -> float:
    """What the server wants us to wait (Retry-After, in seconds), within reason."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, min(_LONGEST_RETRY_AFTER_S, int(headers.get("Retry-After", 0))))
    except (TypeError, ValueError):  # a date, which nobody sends for storage
        return 0.0
