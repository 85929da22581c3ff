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
from http.client import BadStatusLine, HTTPException
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

from loadcast.storage.blob.errors import error_code, status_of
from loadcast.storage.blob.pace import OutOfTimeError, ends_within
from loadcast.storage.blob.retries import retry_log

#: Seconds for opening a connection, and for the next bytes of an answer.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 30.0
#: Seconds without a byte after which a read is asked again, on a new connection. Doubled each time it happens, so that
#: a server that is merely slow gets its time.
STALL_TIMEOUT_S = 3.0
#: What busy servers answer, and the proxies before them.
BUSY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
#: Azure's word for a request whose body does not have the MD5 that it came with.
DAMAGED_REQUEST = "Md5Mismatch"
_LONGEST_RETRY_AFTER_S = 30.0
#: OpenSSL's words for a first answer that is not of TLS.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
#: How a server of TLS begins what it says to whom does not speak it.
_TLS_ALERT = "\x15\x03"
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


class NotStorageError(BrokenAnswerError, ServiceResponseError):
    """Something else than a blob server has answered: a network's login page, a proxy.

    One of the SDK's errors, too: who calls the SDK without a policy, as the lease's renewal does, waits for those.
    """

    def __init__(self, status: int, kind: str) -> None:
        ServiceResponseError.__init__(self, f"no blob storage, but {status} with {kind}")


@dataclass(frozen=True)
class Patience:
    """For how many seconds something is asked again, and how long after. Time counts, and never the attempts."""

    #: Where the server has never answered: its name is more likely misspelt than the network down.
    first_contact_s: float = 30.0
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

    def has_answered(self) -> None:
        """Note that the server is there: something of an answer has come, to this process or to another."""
        self.reached = True

    def call(self, operation: Callable[[Attempts], T], deadline_s: float | None = None) -> T:
        """What `operation` gives. It is called again after transient errors, with the count so far; raises its last.

        What it sends and receives in this thread ends with the deadline, too.
        """
        attempts = Attempts(self, deadline_s or self.patience.deadline_s)
        while True:
            try:
                with ends_within(attempts.left_s):
                    result = operation(attempts)
            except Exception as error:
                attempts.failed(error)
            else:
                self.has_answered()
                return result


class Attempts:
    """The attempts of one operation so far."""

    def __init__(self, policy: Policy, deadline_s: float) -> None:
        self._policy = policy
        self._began, self._deadline_s = policy.clock(), deadline_s
        self._damaged: set[bytes] = set()
        self._last: Exception | None = None
        self.failures = 0

    @property
    def stall_timeout_s(self) -> float:
        """Seconds to wait for the next bytes of what can be asked again at no cost."""
        return float(min(READ_TIMEOUT_S, STALL_TIMEOUT_S * 2 ** min(self.failures, 8)))

    @property
    def left_s(self) -> float:
        """Seconds until the operation's deadline."""
        return self._began + self._deadline_s - self._policy.clock()

    @property
    def out_of_time(self) -> bool:
        """Whether the operation's deadline has passed."""
        return self.left_s < 0

    def is_damaged_again(self, digest: bytes) -> bool:
        """Whether bytes of this (wrong) digest have come before: then it is not the way that has damaged them."""
        seen = digest in self._damaged
        self._damaged.add(digest)
        return seen

    def failed(self, error: Exception) -> None:
        """Wait until it is time for another attempt. Raises the error where there is to be none."""
        policy, patience = self._policy, self._policy.patience
        self.failures += 1
        if isinstance(error, HttpResponseError) and error.response is not None:
            policy.has_answered()
        limit_s = self._deadline_s if policy.reached else min(self._deadline_s, patience.first_contact_s)
        pause = pause_s(self.failures, error, patience)
        again = is_transient(error) and (policy.reached or other_protocol(error) is None)
        if not again or policy.clock() + pause > self._began + limit_s:
            # An attempt that had no time left says nothing of what is wrong.
            cut_off = any(isinstance(reason, OutOfTimeError) for reason in reasons(error))
            raise self._last if cut_off and self._last else error
        self._last = error
        retry_log(reasons(error), self.failures, pause, self._began + limit_s - policy.clock())
        policy.sleep(pause)


def pause_s(failures: int, error: Exception, patience: Patience) -> float:
    """Seconds before the next attempt: longer each time, at random, so that many workers do not come back together."""
    longest = min(patience.longest_pause_s, patience.first_pause_s * 2.0 ** min(failures - 1, 30))
    return max(random.uniform(longest / 2, longest), _asked_pause_s(error))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, ClientAuthenticationError):
        return False
    if isinstance(error, (IncompleteReadError, BrokenAnswerError)):
        return True
    if isinstance(error, HttpResponseError):
        # A body that cannot be read, though all went well, is damaged or cut.
        status = status_of(error)
        return status < 400 or status in BUSY_STATUSES or error_code(error) == DAMAGED_REQUEST
    if any(isinstance(reason, ssl.SSLCertVerificationError) for reason in reasons(error)):
        return False
    return isinstance(error, _NETWORK_ERRORS)


def other_protocol(error: BaseException) -> str | None:
    """The protocol (https or http) that the server speaks where it was asked by the other one, else None.

    At first contact it is the address that is wrong, and no other attempt will do better.
    """
    for reason in reasons(error):
        if isinstance(reason, ssl.SSLError) and reason.reason in _NOT_TLS:
            return "http"
        if isinstance(reason, BadStatusLine) and _TLS_ALERT in str(reason):
            return "https"
    return None


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
