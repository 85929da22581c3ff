"""How sure a lift is: servers are drawn anew, with replacement, many times (Efron, 1979), all folds of each together.

Hours of one server resemble each other, so rows that were drawn one by one would promise too much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.tally import Counts

DRAWS, SEED = 1_000, 1
INTERVAL = (0.025, 0.975)
#: Of servers drawn at once: their weights then take 32 MB.
_CHUNK_CELLS = 1 << 22


def accuracy(confusion: NDArray[Any]) -> Float64s:
    """The share of hits: (…, 3, 3) → (…). There must be rows."""
    hits: Float64s = np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))
    return hits


def macro_f1(confusion: NDArray[Any]) -> Float64s:
    """The mean F1 of the classes that occur or are forecast, as kernels.scores: (…, 3, 3) → (…). There must be rows."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    # F1 = 2 · hits ÷ (how often the class occurs + how often it is forecast).
    both = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = 2 * hits / np.maximum(both, 1)
    means: Float64s = f1.sum(axis=-1) / np.count_nonzero(both, axis=-1)
    return means


def resampled(by_server: Counts, draws: int = DRAWS, seed: int = SEED) -> NDArray[np.float64]:
    """Sums over servers that are drawn anew: (answers, servers, 3, 3) → (draws, answers, 3, 3)."""
    answers, servers, *classes = by_server.shape
    cells = by_server.transpose(1, 0, 2, 3).reshape(servers, -1).astype(np.float64)
    return drawn_sums(cells, draws, seed).reshape(draws, answers, *classes)


def drawn_sums(cells: Float64s, draws: int = DRAWS, seed: int = SEED) -> Float64s:
    """Sums over servers that are drawn anew: (servers, cells) → (draws, cells)."""
    servers, random = len(cells), np.random.default_rng(seed)
    step = max(1, _CHUNK_CELLS // servers)
    sums = []
    for begin in range(0, draws, step):
        times = random.multinomial(servers, np.full(servers, 1 / servers), size=min(step, draws - begin))
        sums.append(times.astype(np.float64) @ cells)
    return np.concatenate(sums)


def interval(values: Float64s) -> tuple[float, float]:
    """The middle 95 % of some values."""
    low, high = np.quantile(values, INTERVAL)
    return float(low), float(high)
