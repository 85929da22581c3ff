"""What is made sooner for several neighbours at once, and asked for one by one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Together(Generic[Made]):
    """Things numbered from 0, made in groups of neighbours as the first of a group is asked for, by any thread.

    `make` makes those of some numbers. Each is given once of its group; what is asked for again is made alone, until
    all of the group were given. No more than `most_kept` groups wait for that: whoever asks in order finds all of them.
    """

    def __init__(
        self, number: int, make: Callable[[Sequence[int]], Sequence[Made]], size: int, most_kept: int = 8
    ) -> None:
        self._number, self._make, self._size, self._most_kept = number, make, size, most_kept
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, dict[int, Made]] = OrderedDict()
        self._made: set[int] = set()

    def take(self, number: int) -> Made:
        """The thing of a number. Raises what `make` raises of it alone: faults of others do not count."""
        group = number // self._size
        with self._lock:  # one group at a time: who waits needs this one, or would compute beside it
            if group not in self._made:
                self._made.add(group)
                self._keep(group)
            found = self._waiting.get(group, {})
            if number in found:
                taken = found.pop(number)
                if not found:
                    del self._waiting[group]
                    self._made.remove(group)
                return taken
        (alone,) = self._make([number])
        return alone

    def _keep(self, group: int) -> None:
        """Make a group, unless one of it cannot be made; forget the group that was made longest ago."""
        numbers = range(group * self._size, min((group + 1) * self._size, self._number))
        if len(numbers) < 2:
            return
        try:
            self._waiting[group] = dict(zip(numbers, self._make(numbers), strict=True))
        except Exception:  # whose it is gets it when it is made alone
            return
        if len(self._waiting) > self._most_kept:
            self._waiting.popitem(last=False)
