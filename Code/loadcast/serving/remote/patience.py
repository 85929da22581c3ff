"""How long a client waits, and when it asks again: by a clock that nobody sets."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from loadcast.logs.events import CLIENT, log_event

#: So often a request is sent at most.
ATTEMPTS = 5
#: A service that was there a moment ago may be starting anew.
RESTART_ATTEMPTS = 8
#: A service that gives no answer in all its time is asked once more: the connection may have been lost.
ATTEMPTS_IN_SILENCE = 2
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 8.0
#: A service could ask us to wait for years.
LONGEST_RETRY_AFTER_S = 30.0
_MOST_DIGITS = 9
_TELL_EVERY_S = 5.0
_REASONS = {0: "its answer was lost or wrong", 429: "it limits how often it is asked", 503: "it is busy or starting"}


class Deadline:
    """The moment after which nothing is waited for; None: never."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self._end_s = math.inf if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds left, 0 or more; infinity without a deadline."""
        return max(0.0, self._end_s - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left_s() <= 0


class Pace:
    """What a service said of waiting, which counts for all connections to it."""

    def __init__(self) -> None:
        self._not_before_s = 0.0
        self._told_s = -math.inf
        self._untold = 0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Let no request begin for so long."""
        with self._lock:
            self._not_before_s = max(self._not_before_s, time.monotonic() + seconds)

    def wait_s(self) -> float:
        """Seconds until a request may begin; those that waited do not begin all at once."""
        left_s = self._not_before_s - time.monotonic()
        return left_s + random.uniform(0, _FIRST_WAIT_S) if left_s > 0 else 0.0

    def tell(self, status: int, wait_s: float, attempt: int) -> None:
        """Log that a request is sent again: the first at once, then one in some seconds with how many others were."""
        with self._lock:
            tell = time.monotonic() - self._told_s >= _TELL_EVERY_S
            others, self._untold = self._untold, 0 if tell else self._untold + 1
            if tell:
                self._told_s = time.monotonic()
        level = logging.WARNING if tell else logging.DEBUG
        message = f"Waiting for the scoring service: {_REASONS.get(status, 'it failed')}."
        fields = {"status": status or None, "wait_s": wait_s, "attempt": attempt, "others": others or None}
        log_event(CLIENT, level, "retry", message, **fields)


def backoff_s(attempt: int) -> float:
    """Seconds to wait after the attempt of this number, from 1: twice as long each time, and never the same."""
    longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1))
    return random.uniform(longest / 2, longest)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that an answer wants its client to wait (Retry-After), within reason; 0 where it says nothing usable.

    A date counts from the answer's own: this machine's clock may be wrong.
    """
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        seconds = float(said[:_MOST_DIGITS])
    else:
        until, now = _date(said), _date(headers.get("Date", ""))
        seconds = 0.0 if until is None or now is None else (until - now).total_seconds()
    return max(0.0, min(LONGEST_RETRY_AFTER_S, seconds))


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else None


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
