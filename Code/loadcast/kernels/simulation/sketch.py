"""The fleet's peaks as of several cutoffs, counted in narrow bins: mergeable, in any order, and small."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.grid import Grid

#: A bin is of the numbers whose leading bits are the same: it spans 1 ÷ 256 of the power of two below it.
_DROPPED_BITS = 44
_BINS = 1 << (63 - _DROPPED_BITS)


@dataclass(frozen=True)
class Sketch:
    """Counts of observed hourly peaks between c `cutoffs` (hours since 1970, ascending), and before the first.

    The last one is where the test period begins: no hour after it is counted. `counts` is of (how many of the cutoffs
    are not after the hour) · _BINS + bin.
    """

    cutoffs: tuple[int, ...]
    counts: Counter[int]

    @classmethod
    def of(cls, grid: Grid, cutoffs: Sequence[int]) -> Sketch:
        """The sketch of the servers of a grid."""
        interval = np.searchsorted(np.array(cutoffs, dtype=np.int64), grid.hours, side="right")
        known = grid.observed & (interval < len(cutoffs))
        cells, numbers = np.unique(interval[known] * _BINS + _bins(grid.peaks[0][known]), return_counts=True)
        return cls(tuple(cutoffs), Counter(dict(zip(cells.tolist(), numbers.tolist(), strict=True))))

    @classmethod
    def of_all(cls, grids: Iterable[Grid], cutoffs: Sequence[int]) -> Sketch:
        """The sketch of the servers of several grids."""
        counts: Counter[int] = Counter()
        for grid in grids:
            counts.update(cls.of(grid, cutoffs).counts)
        return cls(tuple(cutoffs), counts)

    def as_json(self) -> str:
        """The counts as one JSON text, for Sketch.joined."""
        return json.dumps(list(self.counts.items()), separators=(",", ":"))

    @classmethod
    def joined(cls, texts: Iterable[str], cutoffs: Sequence[int]) -> Sketch:
        """The sketch of all servers of several texts, in any order."""
        counts: Counter[int] = Counter()
        for text in texts:
            counts.update(dict(json.loads(text)))
        return cls(tuple(cutoffs), counts)

    def before(self, cutoff: int) -> Peaks:
        """The peaks of the hours before one of the cutoffs."""
        return self._peaks(0, self.cutoffs.index(cutoff) + 1)

    def since(self, cutoff: int) -> Peaks:
        """The peaks of the hours from one of the cutoffs on."""
        return self._peaks(self.cutoffs.index(cutoff) + 1, len(self.cutoffs))

    def _peaks(self, first: int, end: int) -> Peaks:
        """The peaks of some of the times between cutoffs, counted from the one before the first."""
        counts: Counter[int] = Counter()
        for cell, number in self.counts.items():
            if first * _BINS <= cell < end * _BINS:
                counts[cell % _BINS] += number
        bins = np.array(sorted(counts), dtype=np.int64)
        return Peaks(bins, np.array([counts[one] for one in bins.tolist()], dtype=np.int64))


@dataclass(frozen=True)
class Peaks:
    """How many peaks fall into each bin, in ascending order; both (k,)."""

    bins: Int64s
    numbers: Int64s

    @property
    def total(self) -> int:
        """How many there are."""
        return int(self.numbers.sum())

    def quantile(self, share: float) -> float:
        """The middle of the bin that holds this quantile, within 1 ÷ 256 of it. There must be peaks."""
        rank = share * (self.total - 1)
        at = int(np.searchsorted(np.cumsum(self.numbers), rank, side="right"))
        return float(_middles(self.bins[min(at, len(self.bins) - 1)][None])[0])

    def share(self, bound: float) -> float:
        """Which share of them is not above a bound, by the middles of their bins. There must be peaks."""
        return float(self.numbers[_middles(self.bins) <= bound].sum()) / self.total

    def classes(self, low: float, high: float) -> Int64s:
        """How many are low, medium and high by two bounds, (3,)."""
        label = np.searchsorted([low, high], _middles(self.bins), side="left")
        return np.bincount(label, self.numbers, minlength=3).astype(np.int64)


def _bins(peaks: Float64s) -> Int64s:
    bins: Int64s = np.maximum(peaks, 0.0).view(np.int64) >> _DROPPED_BITS
    return bins


def _middles(bins: Int64s) -> Float64s:
    middles: Float64s = ((bins << _DROPPED_BITS) | (1 << (_DROPPED_BITS - 1))).view(np.float64)
    return np.where(bins == 0, 0.0, middles)
