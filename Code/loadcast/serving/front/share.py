"""How many connections each worker has, in memory that all of them see, so that they take turns with new ones."""

from __future__ import annotations

import mmap

_SLOTS = 256
_BYTES_A_SLOT = 4
_FREE = -1
_LEAVING = 1 << 30


class Share:
    """Made before the workers are forked. A slot is a worker's from before its start until after its end."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, _SLOTS * _BYTES_A_SLOT)).cast("i")
        for slot in range(_SLOTS):
            self._counts[slot] = _FREE

    def take(self) -> int:
        """A slot for a new worker; the last is for all that are too many."""
        slot = next((slot for slot in range(_SLOTS) if self._counts[slot] == _FREE), _SLOTS - 1)
        self._counts[slot] = 0
        return slot

    def free(self, slot: int) -> None:
        """The worker has ended."""
        self._counts[slot] = _FREE

    def set(self, slot: int, n_connections: int) -> None:
        """Say how many connections a worker has."""
        if self._counts[slot] != _LEAVING:
            self._counts[slot] = n_connections

    def leave(self, slot: int) -> None:
        """The worker takes no more connections where another can."""
        self._counts[slot] = _LEAVING

    def has_most(self, slot: int) -> bool:
        """Whether another worker has fewer connections."""
        counts = self._counts.tolist()
        return any(_FREE < count < counts[slot] for count in counts)
