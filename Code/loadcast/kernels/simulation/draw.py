"""Which hours become training rows, and from which origins: drawn by hashing, so that no cutting of the data shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.features.feature_set import Origin
from loadcast.kernels.grid import Grid
from loadcast.kernels.simulation.views import SPAN_H, View

#: At most this share of a view's hours become rows, and at most so many rows of all views together.
_DENSEST = 1500 / (40 * SPAN_H)
_MOST_ROWS = 200_000
#: A server's first day says too little.
_YOUNGEST_H = 24
_HORIZONS = np.arange(1, schema.HORIZON_HOURS + 1)
#: Rows are drawn with weights 1 ÷ horizon: of near hours there is more to learn.
_SHARES = np.cumsum(1 / _HORIZONS) / np.sum(1 / _HORIZONS)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Draw:
    """How rows are drawn: which share of a view's hours, from which origins, and a seed."""

    share: float
    origin: Origin
    seed: int

    def rows(self, grid: Grid, view: View) -> tuple[Int64s, Int64s]:
        """Slots of a grid that become rows of a view, and their origins, none before the hour before it begins."""
        wanted = grid.observed & (grid.hours >= view.begin) & (grid.hours < view.end)
        slots = np.flatnonzero(wanted)
        servers = grid.day_server[slots // 24]
        slots = slots[grid.hours[slots] >= grid.first[servers] + _YOUNGEST_H]
        words = _words(grid, slots, self.seed, view.number)
        slots, words = slots[(drawn := _numbers(words) < self.share)], words[drawn]
        horizons = np.full(len(slots), schema.HORIZON_HOURS)
        if self.origin is Origin.FORECAST:
            horizons = _HORIZONS[np.searchsorted(_SHARES, _numbers(_mixed(words)), side="right")]
        inside = grid.hours[slots] - horizons >= view.begin - 1
        return slots[inside], (slots - horizons)[inside]


def density(views: Sequence[View], servers: int) -> float:
    """The share of each view's hours that become rows, for so many servers."""
    hours = servers * sum(view.end - view.begin for view in views)
    return min(_DENSEST, _MOST_ROWS / max(1, hours))


def _words(grid: Grid, slots: Int64s, seed: int, number: int) -> Words:
    """Bits of their own for each server, hour, seed and view."""
    names = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in grid.servers]
    servers = np.frombuffer(b"".join(names), dtype=np.uint64)
    begin = _mixed(np.array([seed], dtype=np.uint64) + np.array([number], dtype=np.uint64) * _GOLDEN)
    words: Words = _mixed(servers[grid.day_server[slots // 24]] ^ begin) + grid.hours[slots].astype(np.uint64) * _GOLDEN
    return _mixed(words)


def _mixed(words: Words) -> Words:
    """SplitMix64's finalizer (Steele, Lea, Flood, 2014): each bit out depends on each bit in."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed


def _numbers(words: Words) -> Float64s:
    """Numbers from 0 to below 1."""
    numbers: Float64s = (words >> np.uint64(11)).astype(np.float64) / 2**53
    return numbers
