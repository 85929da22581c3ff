"""Sums over the last hours of an origin, whatever lies before them.

A running sum of fractions would carry in the rounding of older hours, and a client whose grid begins at another day
would get other last bits. So positions are whole multiples of 1 ÷ STEPS (relative.py), and sums are of whole numbers:
exact, and differences of running sums even where those have wrapped around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadcast.kernels.buckets import Float64s, Int64s

#: Hours of each window.
WINDOWS_H = (6, 24, 72, 168, 336, 672)


@dataclass(frozen=True)
class Windows:
    """The last hours up to and with each of m origins, (m,), of the servers whose first slots are `firsts`, (m,)."""

    origins: Int64s
    firsts: Int64s

    def sums(self, values: Int64s, hours: int) -> Int64s:
        """Sums of `values`, (slots,), over the last `hours` hours that the server has, (m,)."""
        return self.sums_of(running(values), hours)

    def sums_of(self, total: Int64s, hours: int) -> Int64s:
        """The same of running sums."""
        ends = self.origins + 1
        begins = np.maximum(ends - hours, self.firsts)
        return total.take(ends, mode="clip") - total.take(np.minimum(begins, ends), mode="clip")

    def largest(self, values: Float64s, windows_h: tuple[int, ...]) -> dict[int, Float64s]:
        """The largest of `values`, (slots,), over windows of growing length, (m,) each; NaN where none is known."""
        most, begin = np.full(len(self.origins), np.nan), 0
        largest = {}
        for hours in windows_h:
            for back in range(begin, hours):
                slots = self.origins - back
                most = np.fmax(most, np.where(slots >= self.firsts, values.take(slots, mode="clip"), np.nan))
            largest[hours], begin = most, hours
        return largest


def running(values: Int64s) -> Int64s:
    """Sums of all values before each slot, and of all, (slots + 1,)."""
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total


def ratio(part: Float64s, whole: Float64s) -> Float64s:
    """part ÷ whole; NaN where the whole is 0."""
    quotient: Float64s = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotient
