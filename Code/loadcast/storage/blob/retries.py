"""Telling the user why a run waits for storage, as it happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from requests.exceptions import Timeout
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from loadcast.logs.events import STORAGE, log_event

#: Many requests wait at the same time: of one reason, a process tells no more often, and how many there were.
_QUIET_S = 5.0
_THROTTLED = {429, 503}


class RetryLog:
    """Logs requests that are asked again: the first of a reason at once, the next ones after it together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def __call__(self, causes: Iterable[BaseException], attempt: int, wait_s: float, left_s: float) -> None:
        """An attempt has failed for these causes, outermost first; there will be another after `wait_s` seconds.

        It is given up when `left_s` seconds have passed.
        """
        known = list(causes)
        status = next((code for cause in known if (code := getattr(cause, "status_code", None))), None)
        reason = _reason(known, status)
        with self._lock:
            more = self._untold.pop(reason, 0)
            quiet = self._clock() < self._told.get(reason, float("-inf")) + _QUIET_S
            if quiet:
                self._untold[reason] = more + 1
            else:
                self._told[reason] = self._clock()
        log_event(
            STORAGE,
            logging.DEBUG if quiet else logging.WARNING,
            "retry",
            f"Waiting for storage: {reason}.",
            status=status,
            wait_s=round(wait_s, 2),
            attempt=attempt,
            left_s=round(left_s, 1),
            others=None if quiet or not more else more,
        )


def _reason(causes: list[BaseException], status: int | None) -> str:
    if status in _THROTTLED:
        return "the account throttles its requests"
    if status is not None:
        return f"the server answered {status}"
    if any(isinstance(cause, (Timeout, PoolTimeoutError, TimeoutError)) for cause in causes):
        return "it stalled, no byte came in time"
    return f"the connection failed or broke off ({type(causes[-1]).__name__})"


retry_log = RetryLog()
