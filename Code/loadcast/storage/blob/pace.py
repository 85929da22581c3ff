"""Transfers that crawl: a connection that moves a byte now and then never times out by itself."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Seconds of waiting over which a transfer has to move WINDOW_BYTES: less than the slowest modem, far more than a drip.
WINDOW_S = 10.0
WINDOW_BYTES = 10 << 10

_end: ContextVar[float] = ContextVar("end of the operation", default=math.inf)


class SlowTransferError(TimeoutError):
    """The bytes of a request or an answer come too slowly."""


class OutOfTimeError(SlowTransferError):
    """They come, and the operation's time is over."""


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Bound everything that this thread sends and receives in the block, however steadily it moves."""
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


class Pace:
    """One direction of one request.

    The wait for the first bytes is not counted: that is what timeouts are for. Nor is what happens between two
    transfers.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, _end.get()
        self._begun = False
        self._waited, self._moved = 0.0, 0

    def moved(self, number: int, began: float) -> None:
        """Count bytes that were waited for since `began` (of the clock). Raises SlowTransferError."""
        now = self._clock()
        if now > self._end:
            raise OutOfTimeError("out of time")
        if self._begun:
            self._waited += now - began
        self._begun = True
        self._moved += number
        if self._waited < WINDOW_S:
            return
        if self._moved < WINDOW_BYTES:
            raise SlowTransferError(f"{self._moved:,} bytes in {self._waited:.0f} s")
        self._waited, self._moved = 0.0, 0


class PacedReader(io.RawIOBase):
    """A raw stream that is read no slower than Pace allows."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw, self._pace = raw, Pace()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override]
        """As the stream below. Raises SlowTransferError as well."""
        began = time.monotonic()
        number = self._raw.readinto(buffer)
        if number:
            self._pace.moved(number, began)
        return number

    def close(self) -> None:
        """Close the stream below, too."""
        if not self.closed:
            self._raw.close()
        super().close()
