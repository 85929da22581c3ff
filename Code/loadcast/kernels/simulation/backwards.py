"""A past that never was, of hours that were: the weeks of a server in the opposite order.

Of a fleet whose load only grew, forward cutoffs teach that what is low rises. Turned around, the same hours tell of a
load that falls, and levels are learned from both sides. Within a week nothing is turned, so hours keep their time of
the day and day of the week.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.calendar import Dates
from loadcast.kernels.grid import Grid

_WEEK_H = 168
#: Of what is known at a cutoff, and of what comes after it.
_FEWEST_WEEKS = 2


@dataclass(frozen=True)
class Turned:
    """Which hours can be turned: those from `begin` to before `split` (since 1970), on no holiday.

    A holiday would come to stand at a date that is none, and teach that such days can be like any.
    """

    begin: int
    split: int
    holidays: frozenset[date]

    def hours(self, grid: Grid) -> NDArray[np.bool_]:
        """Which slots of a grid, (slots,), hold them."""
        ordinary = np.repeat(~Dates(grid.day_number, self.holidays).is_holiday, 24)
        chosen: NDArray[np.bool_] = grid.observed & ordinary & (grid.hours >= self.begin) & (grid.hours < self.split)
        return chosen


def backwards(grid: Grid, cutoff: int, turned: Turned) -> Grid | None:
    """The grid with weeks swapped around `cutoff`: the one after it is the last one known, the one before it is next.

    It has no other hours than those that can be turned. None where there is none of them.
    """
    taken = np.flatnonzero(turned.hours(grid))
    if not len(taken):
        return None
    hours = grid.hours[taken]
    hours = hours - _WEEK_H * (2 * ((hours - cutoff) // _WEEK_H) + 1)
    codes = grid.day_server[taken // 24]
    kept, place = np.unique(codes, return_inverse=True)
    first, last = np.full(len(kept), hours.max()), np.full(len(kept), hours.min())
    np.minimum.at(first, place, hours)
    np.maximum.at(last, place, hours)
    days = last // 24 - first // 24 + 1
    slots = 24 * (np.cumsum(days) - days - first // 24)[place] + hours
    n_slots = 24 * int(days.sum())
    peaks, observed = np.zeros((len(grid.peaks), n_slots)), np.zeros(n_slots, dtype=np.bool_)
    peaks[:, slots], observed[slots] = grid.peaks[:, taken], True
    return Grid(tuple(grid.servers[server] for server in kept.tolist()), first, last, peaks, observed)


def span_of(cutoff: int, begin: int, split: int, longest: int) -> int:
    """How many hours after a cutoff training rows can be of, at most `longest`; 0 with less than two weeks on a side.

    Before the cutoff there are whole weeks of them, and none lies past the split: rows from there on are the test's.
    """
    before, after = cutoff - begin, split - cutoff
    return min(longest, before // _WEEK_H * _WEEK_H, after) if min(before, after) >= _FEWEST_WEEKS * _WEEK_H else 0
