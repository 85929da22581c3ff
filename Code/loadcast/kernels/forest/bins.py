"""Rows as bins of their features' numbers: what the trees see of them.

Source: TreePoint.findBin of Spark ML and java.util.Arrays.binarySearch: a number's bin is how many thresholds lie
below it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.forest.thresholds import Bins
from loadcast.kernels.words import ready

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Uint64s = NDArray[np.uint64]

#: Bins of a feature that a byte can tell apart.
MOST_BINS = 256
_FLAG_BINS, _WORD_BITS = 2, 64


@dataclass(frozen=True, eq=False)
class BinnedRows:
    """n rows: `numbers` (n, m) are the bins of features with more than two, `flags` (n, words) bits of those with two.

    `columns` (features,) says which column of the numbers, or which bit of the flags, a feature has. A feature without
    thresholds has neither. `sizes` (features,) are the features' numbers of bins.
    """

    numbers: Bytes
    flags: Uint64s
    columns: Int32s
    sizes: Int32s

    @classmethod
    def empty(cls, rows: int, bins: Bins) -> BinnedRows:
        """Room for so many rows."""
        sizes = bins.sizes
        is_flag, is_number = sizes == _FLAG_BINS, sizes > _FLAG_BINS
        columns = np.where(is_flag, np.cumsum(is_flag), np.cumsum(is_number)) - 1
        words = -(-int(is_flag.sum()) // _WORD_BITS)
        numbers, flags = np.zeros((rows, int(is_number.sum())), np.uint8), np.zeros((rows, words), np.uint64)
        return cls(numbers, flags, columns.astype(np.int32), sizes)

    def fill(self, first: int, matrix: Floats, bins: Bins) -> None:
        """Bin the rows of a matrix (rows, features): they are those from `first` on."""
        rows = slice(first, first + len(matrix))
        matrix = np.ascontiguousarray(matrix, np.float64)
        _compiled_binning()(matrix, bins.thresholds, bins.starts, self.columns, self.numbers[rows], self.flags[rows])


@cache
def _compiled_binning() -> Callable[[Floats, Floats, Int64s, Int32s, Bytes, Uint64s], None]:
    matrix, numbers, flags = np.zeros((0, 0)), np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint64)
    return ready(_bin, matrix, np.zeros(0), np.zeros(1, np.int64), np.zeros(0, np.int32), numbers, flags, nogil=True)


def _bin(matrix: Floats, thresholds: Floats, starts: Int64s, columns: Int32s, numbers: Bytes, flags: Uint64s) -> None:
    """What is compiled."""
    for row in range(len(matrix)):
        for feature in range(matrix.shape[1]):
            value, first, column = matrix[row, feature], starts[feature], columns[feature]
            low, high = first, starts[feature + 1] - 1
            if high == low:
                if value > thresholds[first]:
                    flags[row, column >> 6] |= np.uint64(1) << np.uint64(column & 63)
                continue
            if high < low:
                continue
            while low <= high:
                middle = (low + high) >> 1
                if thresholds[middle] < value:
                    low = middle + 1
                elif thresholds[middle] > value:
                    high = middle - 1
                else:
                    low, high = middle, middle - 1
            numbers[row, column] = low - first


def load() -> None:
    """Load the compiled code."""
    _compiled_binning()
