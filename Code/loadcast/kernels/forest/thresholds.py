"""Where Spark's forest may split a feature, and the bin of each number between those thresholds.

Source: RandomForest.findSplits of Spark ML, for continuous features and rows of weight 1; BernoulliSampler and
GapSampling of Spark; java.util.Arrays.binarySearch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

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
from loadcast.kernels.words import inner, ready

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]

_SAMPLED_ROWS = 10_000
_EPSILON = 2.0**-52
#: Up to this share of rows Spark's sampler draws the gap to the next row, above it for each row.
_LARGEST_SHARE_BY_GAPS = 0.4
_SMALLEST_GAP_NUMBER = 5e-11


class Bins(NamedTuple):
    """Thresholds of all features behind one another; those of feature f begin at `starts[f]` (features + 1,)."""

    thresholds: Floats
    starts: Int64s

    @property
    def sizes(self) -> NDArray[np.int32]:
        """How many bins each feature has: one more than thresholds."""
        return (np.diff(self.starts) + 1).astype(np.int32)


def sampled_share(rows: int, max_bins: int) -> float:
    """The share of rows that thresholds are found from."""
    wanted = max(max_bins * max_bins, _SAMPLED_ROWS)
    return wanted / rows if wanted < rows else 1.0


def sampled_rows(share: float, partitions: Int64s, seed: int) -> Int64s:
    """The indices of the rows that thresholds are found from; `partitions` are the numbers of rows in each."""
    ends = np.concatenate([[0], np.cumsum(partitions)]).astype(np.int64)
    chosen = np.ones(int(ends[-1]), dtype=np.bool_)
    if share < 1:
        _compiled_sample()(np.array([seed % 2**64], np.uint64), share, float(np.log1p(-share)), ends, chosen)
    return np.flatnonzero(chosen)


@cache
def _compiled_sample() -> Callable[[Words, float, float, Int64s, NDArray[np.bool_]], None]:
    return ready(_sample, java_state(0), 0.5, 0.5, np.zeros(1, np.int64), np.zeros(0, np.bool_), nogil=True)


_32_BITS, _32, _SIGN = np.uint64((1 << 32) - 1), np.uint64(32), np.uint64(1 << 31)
_MULTIPLIER, _48_BITS = np.uint64(0x5DEECE66D), np.uint64((1 << 48) - 1)


def _sample(state: Words, share: float, log_unsampled: float, ends: Int64s, chosen: NDArray[np.bool_]) -> None:
    """What is compiled: says of each row whether it is sampled. `state` holds the seed, and is scratch then."""
    drawn = shift_step(shift_state(state[0])) & _32_BITS  # of 32 bits with a sign, for a seed of 64
    state[0] = ((drawn if drawn < _SIGN else drawn | (_32_BITS << _32)) ^ _MULTIPLIER) & _48_BITS
    by_gaps = share <= _LARGEST_SHARE_BY_GAPS
    for partition in range(len(ends) - 1):
        shift = shift_state(java_long(state))
        gap = 0
        if by_gaps:
            shift, gap = _gap(shift, log_unsampled)
        for row in range(ends[partition], ends[partition + 1]):
            if not by_gaps:
                first = shift_step(shift)
                shift = shift_step(first)
                chosen[row] = shift_double(first, shift) <= share
            elif gap > 0:
                gap -= 1
                chosen[row] = False
            else:
                shift, gap = _gap(shift, log_unsampled)


@inner
def _gap(shift: np.uint64, log_unsampled: float) -> tuple[np.uint64, int]:
    first = shift_step(shift)
    second = shift_step(first)
    number = max(shift_double(first, second), _SMALLEST_GAP_NUMBER)
    return second, int(np.log(number) / log_unsampled)


def find_bins(samples: Floats, rows: int, max_bins: int) -> Bins:
    """The thresholds of each feature, from samples (n, features) of so many rows."""
    expected = sampled_share(rows, max_bins) * rows
    most = min(max_bins, rows) - 1
    found = [_thresholds(samples[:, feature], expected, most) for feature in range(samples.shape[1])]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in found])]).astype(np.int64)
    return Bins(np.concatenate([np.zeros(0), *found]), starts)


def _thresholds(samples: Floats, expected: float, most: int) -> Floats:
    """At most `most` thresholds of a feature; `expected` is how many samples there are expected to be.

    Spark counts what is not 0, and takes the rest of what is expected for zeros.
    """
    values, counts = np.unique(samples[samples != 0], return_counts=True)
    if not len(values):
        return np.zeros(0)
    weights, zeros = counts.astype(np.float64), expected - float(counts.sum())
    if zeros > _EPSILON * float(counts.sum()) * 100:
        place = int(np.searchsorted(values, 0.0))
        values, weights = np.insert(values, place, 0.0), np.insert(weights, place, zeros)
    between: Floats = (values[:-1] + values[1:]) / 2.0
    if len(between) <= most:
        return between
    kept = np.zeros(len(between), np.bool_)
    _compiled_stride()(weights, expected / (most + 1), kept)
    chosen: Floats = between[kept]
    return chosen


@cache
def _compiled_stride() -> Callable[[Floats, float, NDArray[np.bool_]], None]:
    return ready(_stride, np.zeros(1), 1.0, np.zeros(0, np.bool_), nogil=True)


def _stride(weights: Floats, stride: float, kept: NDArray[np.bool_]) -> None:
    """What is compiled: says of each gap between values whether a threshold lies there."""
    counted, target = weights[0], stride
    for index in range(1, len(weights)):
        before = counted
        counted += weights[index]
        if abs(before - target) < abs(counted - target):
            kept[index - 1] = True
            target += stride


def load() -> None:
    """Load the compiled code."""
    _compiled_sample()
    _compiled_stride()
