"""How often each tree sees each row: Poisson numbers of mean 1, drawn as Spark's BaggedPoint draws them.

Each partition has its own generator, seeded with the forest's seed, the partition's index and 1; a row draws a number
for each tree before the next row does. Source: BaggedPoint of Spark ML; PoissonDistribution of Commons Math 3.6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.forest.random_numbers import Halves, well_double, well_state
from loadcast.kernels.words import ready

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]
#: FastMath.exp(-1), which is the double next to 1 ÷ e.
_LIMIT = 0.36787944117144233


@cache
def compiled_draw() -> Callable[[Halves, Bytes, int, int], None]:
    """The function (state, weights, first row, row after the last) → nothing, compiled."""
    return ready(draw_weights, well_state(0), np.zeros((0, 0), np.uint8), 0, 0, nogil=True)


@cache
def compiled_order() -> Callable[[Bytes, Bytes, NDArray[np.uint32], Int64s], int]:
    """The function (weights of a tree, labels, order, counts) → number of rows, compiled."""
    nothing = np.zeros(0, np.uint8)
    return ready(order_rows, nothing, nothing, np.zeros(0, np.uint32), np.zeros(4, np.int64), nogil=True)


def draw_weights(state: Halves, weights: Bytes, first: int, last: int) -> None:
    """What is compiled: draws for the rows from `first` to before `last` into `weights` (trees, rows)."""
    for row in range(first, last):
        for tree in range(len(weights)):
            product = well_double(state)
            number = 0
            while product >= _LIMIT:
                number += 1
                product *= well_double(state)
            weights[tree, row] = number


def order_rows(weights: Bytes, labels: Bytes, order: NDArray[np.uint32], counts: Int64s) -> int:
    """What is compiled: the rows that a tree sees, into `order`; adds up their weights by label in `counts`."""
    found = 0
    for row in range(len(weights)):
        weight = weights[row]
        if weight:
            order[found] = row
            counts[labels[row]] += weight
            found += 1
    return found


def load() -> None:
    """Load the compiled code."""
    compiled_draw()
    compiled_order()
