"""Which nodes Spark splits next, and which features each of them may be split at.

Source: RandomForest.selectNodesToSplit of Spark ML, SamplingUtils.reservoirSampleAndCount of Spark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.forest.random_numbers import (
    Words,
    java_long,
    java_state,
    shift_double,
    shift_state,
    shift_step,
)
from loadcast.kernels.words import ready

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]

#: Bytes of a count in Spark's statistics, times classes.
BYTES_OF_BIN = 8 * 4


@cache
def compiled_select() -> Callable[[Int64s, Words, Int32s, int, Int32s], int]:
    """As select_nodes, compiled."""
    nothing = np.zeros(0, np.int32)
    return ready(select_nodes, np.zeros(0, np.int64), java_state(0), nothing, 0, nothing.reshape(0, 0), nogil=True)


def select_nodes(waiting: Int64s, state: Words, sizes: Int32s, most_bytes: int, features: Int32s) -> int:
    """What is compiled: how many of the waiting nodes, from the last on, are split together; their features drawn.

    `sizes` are the features' numbers of bins, `state` is java.util.Random's, and row i of `features` (nodes, drawn)
    gets what the i-th is split at. Of the node that has no room any more features are drawn, too, and drawn again
    when its turn comes: so does Spark.
    """
    drawn, used, chosen = features.shape[1], 0, 0
    while chosen < len(waiting):
        row = features[min(chosen, len(features) - 1)]
        if drawn < len(sizes):
            shift = shift_state(java_long(state))
            for index in range(drawn):
                row[index] = index
            for index in range(drawn, len(sizes)):
                first = shift_step(shift)
                shift = shift_step(first)
                replaced = int(shift_double(first, shift) * (index + 1))
                if replaced < drawn:
                    row[replaced] = index
        else:
            for index in range(drawn):
                row[index] = index
        size = 0
        for index in range(drawn):
            size += sizes[row[index]] * BYTES_OF_BIN
        if used != 0 and used + size > most_bytes:
            break
        used += size
        chosen += 1
    return chosen


def load() -> None:
    """Load the compiled code."""
    compiled_select()
