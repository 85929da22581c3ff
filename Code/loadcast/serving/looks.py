"""Looking again, now and then, at what a running service was started with: whoever asks next does it."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: So often at most.
LOOK_EVERY_S = 1.0


class Looks:
    """Calls `look` once in LOOK_EVERY_S at most, the first time so long after it was made.

    Any thread may ask, and none waits for another: while one looks, the others go on with what there is.
    """

    def __init__(self, look: Callable[[], None], clock: Callable[[], float]) -> None:
        self._look, self._clock = look, clock
        self._next_s = clock() + LOOK_EVERY_S
        self._looking = threading.Lock()

    def look_if_due(self) -> None:
        """Look, if it is time and nobody does."""
        if self._clock() >= self._next_s and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next_s = self._clock() + LOOK_EVERY_S
                self._looking.release()
