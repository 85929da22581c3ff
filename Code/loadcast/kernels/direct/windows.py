"""Sums over the last hours of each slot, whatever lies before them.

A running sum would carry in the rounding of older hours, and a client whose grid begins at another day would get other
last bits. So a window is a sum of shorter windows, always added in the same order.
"""

from __future__ import annotations

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct.relative import RelativeGrid

#: Hours of each window, and of the one that it is made of.
MADE_OF = {6: 1, 24: 6, 72: 24, 168: 24, 336: 168, 672: 336}
WINDOWS_H = tuple(MADE_OF)


def window_sums(relative: RelativeGrid, values: Float64s) -> dict[int, Float64s]:
    """Sums of `values`, (slots,), over the last 6, 24, … hours that end with each slot; what is NaN counts as 0."""
    sums = {1: np.nan_to_num(values)}
    for hours, part in MADE_OF.items():
        total = np.zeros(len(values))
        for begin in range(hours - part, -1, -part):  # the oldest first
            total += np.nan_to_num(relative.earlier(sums[part], begin))
        sums[hours] = total
    return {hours: sums[hours] for hours in WINDOWS_H}


def window_largest(relative: RelativeGrid, values: Float64s) -> dict[int, Float64s]:
    """The largest of `values`, (slots,), over the same windows; NaN where none is known."""
    largest = {1: values}
    for hours, part in MADE_OF.items():
        most = np.full(len(values), np.nan)
        for begin in range(0, hours, part):
            most = np.fmax(most, relative.earlier(largest[part], begin))
        largest[hours] = most
    return {hours: largest[hours] for hours in WINDOWS_H}


def known(values: Float64s) -> Float64s:
    """1 where a value is known, else 0."""
    seen: Float64s = (~np.isnan(values)).astype(np.float64)
    return seen


def ratio(part: Float64s, whole: Float64s) -> Float64s:
    """part ÷ whole; NaN where the whole is 0."""
    quotient: Float64s = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotient
