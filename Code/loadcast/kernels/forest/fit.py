"""The whole of a fit: thresholds from sampled rows, all rows as bins, trees grown on these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.forest import bins, bootstrap, queue, split, thresholds
from loadcast.kernels.forest.bins import BinnedRows
from loadcast.kernels.forest.grow import Grown, Growth, grow
from loadcast.kernels.forest.threads import side_by_side
from loadcast.kernels.forest.thresholds import Bins, find_bins, sampled_rows, sampled_share

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]


class Piece(NamedTuple):
    """So many rows that follow each other, and what gives them as matrices: those of some indices, or all (None)."""

    rows: int
    blocks: Callable[[Int64s | None], Iterable[Floats]]


class TrainingRows(NamedTuple):
    """Pieces one after the other, with labels (n,) below CLASSES; `partitions` are the rows of each of Spark's."""

    pieces: Sequence[Piece]
    labels: NDArray[np.uint8]
    partitions: Sequence[int]
    n_features: int


def load() -> None:
    """Load the compiled code; compiles it where that is to do."""
    for compiled in (bootstrap, queue, split, bins, thresholds):
        compiled.load()


def fit_forest(rows: TrainingRows, max_bins: int, how: Growth) -> tuple[Grown, Bins]:
    """Grow a forest on at least one row; gives its nodes and the thresholds that they name."""
    number = len(rows.labels)
    indices = sampled_rows(sampled_share(number, max_bins), np.array(rows.partitions, np.int64), how.seed)
    sampled = [block for piece, _, own in _each_piece(rows, indices) for block in piece.blocks(own)]
    found = find_bins(np.concatenate([np.zeros((0, rows.n_features)), *sampled]), number, max_bins)
    binned = BinnedRows.empty(number, found)

    def fill(placed: tuple[Piece, int, Int64s]) -> None:
        piece, first, _ = placed
        for block in piece.blocks(None):
            binned.fill(first, block, found)
            first += len(block)

    with side_by_side(how.threads) as each:
        list(each(fill, _each_piece(rows, indices)))
    return grow(binned, found, rows.labels, rows.partitions, how), found


def _each_piece(rows: TrainingRows, indices: Int64s) -> Iterator[tuple[Piece, int, Int64s]]:
    """Each piece, the index of its first row, and which of its own rows are among the indices."""
    first = 0
    for piece in rows.pieces:
        begin, end = np.searchsorted(indices, [first, first + piece.rows])
        yield piece, first, indices[begin:end] - first
        first += piece.rows
