"""Exact quantiles of numbers that lie in many parts: from counts alone, whatever the parts.

A double's 64 bits, ordered as the numbers are, are found 16 at a time: each pass counts the next 16 bits of those
numbers that begin as an order statistic does. Four passes give it to the last bit, in the memory of some counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Prefixes = frozenset[int]
#: Of a level from 1 and prefixes of the level before: how many numbers that begin so have which prefix of this level.
CountPrefixes = Callable[[int, Prefixes], Mapping[int, int]]

LEVELS = 4
_BITS = 16
#: The one prefix of level 0, which all numbers have.
ROOT: Prefixes = frozenset([0])
_SIGN = np.uint64(1 << 63)


def quantiles(count: CountPrefixes, shares: Sequence[float]) -> list[float]:
    """numpy's quantiles (method `linear`) of all numbers that `count` counts; NaN of none."""
    counts = count(1, ROOT)
    total = sum(counts.values())
    if not total:
        return [math.nan] * len(shares)
    ranks = [(total - 1) * share for share in shares]
    wanted = {rank for at in ranks for rank in (math.floor(at), math.ceil(at))}
    known = {rank: (0, rank) for rank in wanted}  # the prefix, and the rank among those that have it
    for level in range(1, LEVELS + 1):
        if level > 1:
            counts = count(level, frozenset(prefix for prefix, _ in known.values()))
        known = {rank: _narrowed(counts, *prefix) for rank, prefix in known.items()}
    values = {rank: _number(prefix) for rank, (prefix, _) in known.items()}
    # Between two numbers numpy's own formula, so that the last bit is numpy's.
    return [float(np.quantile([values[math.floor(at)], values[math.ceil(at)]], at - math.floor(at))) for at in ranks]


def count_prefixes(values: NDArray[np.float64], level: int, prefixes: Prefixes) -> Counter[int]:
    """What `quantiles` asks for, of finite numbers (n,); counts of several parts add up."""
    bits = (values + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    bits = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    begins = _first_bits(bits, level - 1)
    chosen = bits[np.isin(begins, np.array(sorted(prefixes), dtype=np.uint64))]
    found, numbers = np.unique(_first_bits(chosen, level), return_counts=True)
    return Counter(dict(zip(found.tolist(), numbers.tolist(), strict=True)))


def _first_bits(bits: NDArray[np.uint64], level: int) -> NDArray[np.uint64]:
    return bits >> np.uint64(64 - _BITS * level) if level else np.zeros_like(bits)


def _narrowed(counts: Mapping[int, int], prefix: int, rank: int) -> tuple[int, int]:
    """The longer prefix of the number of that rank among those with `prefix`, and its rank there."""
    for longer in sorted(longer for longer in counts if longer >> _BITS == prefix):
        if rank < counts[longer]:
            return longer, rank
        rank -= counts[longer]
    raise ValueError("the counts of a level are not those of the level before")


def _number(bits: int) -> float:
    ordered = np.array([bits], dtype=np.uint64)
    return float(np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).view(np.float64)[0])
