"""The walk through boosted trees, compiled by numba: the same bits as boosted.margins, several times sooner.

As in `walk`, rows go down a tree together, and numba need not be installed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadcast.models import walk
from loadcast.models.boosted import MISSING, BoostedTrees, Floats, Singles, in_singles, start_of
from loadcast.models.tree_shape import check_width

Words = NDArray[np.uint32]
Walk = Callable[[Singles, "Nodes", int, Words, Singles], None]


class Nodes(NamedTuple):
    """Nodes of boosted.BoostedTrees as the compiled code takes them: a leaf is its own child.

    `splits` (nodes, 4): feature, right child, left child, and whether a missing value goes left.
    """

    roots: Words
    columns: Words
    splits: Words
    value: Singles


_used: list[Walk] = []


def use(function: Walk) -> None:
    """Walk with this function from now on: the same, had in another way."""
    _used[:] = [function]


def is_available() -> bool:
    """Whether the walk can be had compiled."""
    return bool(_used) or walk.is_available()


def compact_nodes(trees: BoostedTrees) -> Nodes:
    """The nodes, small and close together."""
    splits = np.column_stack([trees.feature, trees.children.reshape(-1, 2), trees.missing_left])
    return Nodes(
        trees.roots.astype(np.uint32),
        trees.column.astype(np.uint32),
        np.ascontiguousarray(splits, dtype=np.uint32),
        trees.value,
    )


def compiled_margins(trees: BoostedTrees, nodes: Nodes, matrix: Floats) -> Singles:
    """As boosted.margins; `nodes` are the trees'. Raises ValueError when the matrix has another width."""
    check_width(matrix, trees.n_features)
    answer = start_of(trees, len(matrix))
    reached = np.zeros(walk.BLOCK_ROWS, dtype=np.uint32)
    function = _used[0] if _used else compiled_walk()
    function(in_singles(matrix), nodes, trees.depth, reached, answer)
    return answer


@cache
def compiled_walk() -> Walk:
    """The function (matrix, nodes, depth, scratch, margins to add to) → nothing, compiled for its kind of arguments."""
    from loadcast.kernels.words import ready  # numba, which may be missing

    words, singles = np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.float32)
    nothing, rows = Nodes(words, words, words.reshape(0, 4), singles), singles.reshape(0, 1)
    # Without the GIL: threads of the service walk side by side. Never fastmath: the order of additions is xgboost's.
    return ready(walk_boosted, rows, nothing, 0, words, rows, nogil=True)


def walk_boosted(matrix: Singles, nodes: Nodes, depth: int, reached: Words, margins: Singles) -> None:
    """What is compiled: adds each tree's values to `margins` (n, classes); `reached` (BLOCK_ROWS,) is scratch."""
    splits = nodes.splits
    for first in range(0, len(matrix), walk.BLOCK_ROWS):
        rows = matrix[first : first + walk.BLOCK_ROWS]
        for tree in range(len(nodes.roots)):
            for row in range(len(rows)):
                reached[row] = nodes.roots[tree]
            for _ in range(depth):
                for row in range(len(rows)):
                    node = reached[row]
                    value = rows[row, splits[node, 0]]
                    left = value < nodes.value[node]
                    if value != value or value == MISSING:
                        left = splits[node, 3] != 0
                    reached[row] = splits[node, np.uint32(1) + np.uint32(left)]
            for row in range(len(rows)):
                margins[first + row, nodes.columns[tree]] += nodes.value[reached[row]]
