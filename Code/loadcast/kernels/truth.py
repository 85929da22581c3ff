"""What came of hours: the classes of servers, as those know them who look back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.buckets import Int64s
from loadcast.kernels.direct.recent import LAST_KNOWN_H

Classes = NDArray[np.int8]
HOURS_OF_WEEK = 168


@dataclass(frozen=True, eq=False)
class Truth:
    """Classes of s servers in h hours from `first`, an hour since 1970: (s, h), 0 where an hour was not observed.

    `numbers` has the row of each server. `of_nothing`, (s,), is the class of a load of 0, which hours that were not
    observed have for those that look back to them. `usual`, (s, 168), is the commonest class of each hour of the week
    in training, 0 for none.
    """

    numbers: dict[str, int]
    first: int
    classes: Classes
    of_nothing: Classes
    usual: Classes

    @property
    def last(self) -> int:
        """The newest hour."""
        return self.first + int(self.classes.shape[1]) - 1

    def at(self, rows: Int64s, hours: Int64s) -> Classes:
        """The true classes of servers and hours, (n,), 0 where they are not known."""
        return _looked_up(self.classes, rows, hours - self.first)

    def usual_at(self, rows: Int64s, hours: Int64s) -> Classes:
        """The commonest classes of the hours of the week, (n,), 0 where there is none."""
        return self.usual[rows, hours % HOURS_OF_WEEK]

    def last_at(self, rows: Int64s, hours: Int64s) -> Classes:
        """The class of the last observed hour up to each, (n,), 0 where there is none in LAST_KNOWN_H hours."""
        return _looked_up(self._last, rows, hours - self.first)

    @cached_property
    def _last(self) -> Classes:
        index = np.arange(self.classes.shape[1])
        last = np.maximum.accumulate(np.where(self.classes > 0, index, -1), axis=1)
        classes = np.take_along_axis(self.classes, np.maximum(last, 0), axis=1)
        return np.where((last >= 0) & (index - last <= LAST_KNOWN_H), classes, 0).astype(np.int8)


def _looked_up(grid: Classes, rows: Int64s, hours: Int64s) -> Classes:
    inside = (hours >= 0) & (hours < grid.shape[1])
    return np.where(inside, grid[rows, np.where(inside, hours, 0)], 0).astype(np.int8)
