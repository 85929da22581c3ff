"""Who may ask, and how often: the service's keys, and the rate that each of them has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from loadcast.errors import AuthError, ConfigError
from loadcast.serving.faults import RateError

_SCHEME = "bearer"
#: Of a service without keys, whose callers share one rate.
_NOBODY = "none"


class Accepting(Protocol):
    """What the gate needs of Keys."""

    def accepts(self, sent: bytes) -> str | None:
        """Which key was sent, or None."""


class KeySource(Protocol):
    """What the gate needs of a KeyFile, and of Keys themselves."""

    def current(self) -> Accepting:
        """The keys that count now."""


class RateLimit:
    """A bucket of tokens for each key: `per_second` requests each second, and as many at once, but at least one.

    A service of several processes gives each of them its share. Raises ConfigError for a rate that is none.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 < per_second < float("inf"):
            raise ConfigError(f"rate limit: found {per_second}, wanted requests a second, more than 0.")
        self._per_second = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> None:
        """Take one token of this key's bucket. Raises RateError where it is empty."""
        now = self._clock()
        with self._lock:
            tokens, since = self._buckets.get(key, (self._most, now))
            tokens = min(self._most, tokens + (now - since) * self._per_second)
            taken = tokens >= 1.0
            self._buckets[key] = (tokens - taken, now)
        if not taken:
            wait_s = (1.0 - tokens) / self._per_second
            raise RateError("This key was used more often than it may be. Wait, as Retry-After says.", wait_s)


class Gate:
    """Lets requests through that bring a key of the service, as long as the key's rate lasts."""

    def __init__(self, keys: KeySource | None, limit: RateLimit | None) -> None:
        self._keys, self._limit = keys, limit

    @property
    def is_locked(self) -> bool:
        """Whether a key is asked for."""
        return self._keys is not None

    def enter(self, environ: Mapping[str, Any]) -> str | None:
        """Which key the request brought; None in a service without keys. Raises AuthError or RateError."""
        name = None if self._keys is None else _accepted(self._keys.current(), environ)
        if self._limit is not None:
            self._limit.take(name or _NOBODY)
        return name


def _accepted(keys: Accepting, environ: Mapping[str, Any]) -> str:
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    # WSGI hands headers over as Latin-1: encoding them back gives the bytes that were sent.
    name = keys.accepts(given.strip().encode("latin-1", "replace"))
    if scheme.lower() != _SCHEME or name is None:
        raise AuthError("The key is missing or wrong, wanted the header Authorization: Bearer <key>.")
    return name
