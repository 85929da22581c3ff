"""An order of rows that follows from the rows themselves: that of Spark's 64-bit xxHash of them.

Source: XXH64 of Spark SQL 4 (`xxhash64`): an array is hashed number by number, each with the hash so far as its seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
_FIRST, _SECOND, _THIRD, _FIFTH = (np.uint64(prime) for prime in _PRIMES)
_SEED = np.uint64(42)
_BYTES = np.uint64(4)
#: Rows whose hashes stay in a core's cache.
_BLOCK_ROWS = 4_096


def row_hashes(matrix: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.int64]:
    """What `xxhash64(features, label)` says of rows (n, features) and their labels (n,), none of them NaN: (n,)."""
    hashes = np.full(len(matrix), _SEED)
    for first in range(0, len(matrix), _BLOCK_ROWS):
        block = slice(first, first + _BLOCK_ROWS)
        columns = _bits(np.ascontiguousarray(matrix[block].T))
        for column in (*columns, _bits(labels[block])):
            hashes[block] = _hashed(column, hashes[block])
    return hashes.view(np.int64)


def _bits(numbers: NDArray[np.float32]) -> NDArray[np.uint64]:
    positive: NDArray[np.float32] = numbers + np.float32(0)  # −0 counts as 0
    return positive.view(np.uint32).astype(np.uint64)


def _hashed(bits: NDArray[np.uint64], seeds: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes of 32 bits each (XXH64.hashInt)."""
    mixed = (seeds + (_FIFTH + _BYTES)) ^ (bits * _FIRST)
    mixed = (mixed << np.uint64(23) | mixed >> np.uint64(41)) * _SECOND + _THIRD
    mixed = (mixed ^ mixed >> np.uint64(33)) * _SECOND
    mixed = (mixed ^ mixed >> np.uint64(29)) * _THIRD
    last: NDArray[np.uint64] = mixed ^ mixed >> np.uint64(32)
    return last
