"""The walk through a forest's trees, compiled by numba: the same bits as forest.votes, several times sooner.

numba need not be installed: the service alone does without it, and the walk with numpy answers then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast.models.forest import Floats, Forest, check_width

Int32s = NDArray[np.int32]
Flags = NDArray[np.bool_]
#: Nodes as the compiled code takes them: of forest.Forest, all trees behind one another, a leaf its own child.
Nodes = tuple[Int32s, Int32s, Floats, Int32s, Int32s, Int32s, Flags, Floats]
Walk = Callable[[Floats, Nodes, int, Int32s, Floats], None]

#: Rows that go down a tree together, level by level: a core looks up many nodes at a time, where one row alone would
#: wait for each. With the nodes of a tree they stay in the core's own cache.
_BLOCK_ROWS = 64


@cache
def is_available() -> bool:
    """Whether there is a compiler, one that this numpy is known to."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def load() -> None:
    """Load the compiled code, which otherwise the first answer does; compiles it where that is to do."""
    if is_available():
        compiled_walk()


def compact_nodes(forest: Forest) -> Nodes:
    """The forest's nodes in int32: a quarter of the memory that the walk would otherwise go over."""
    return (
        forest.roots.astype(np.int32),
        forest.feature.astype(np.int32),
        forest.threshold,
        forest.children.astype(np.int32),
        forest.categories.astype(np.int32),
        forest.category_start.astype(np.int32),
        forest.goes_left,
        forest.shares,
    )


def compiled_votes(forest: Forest, nodes: Nodes, matrix: Floats) -> Floats:
    """As forest.votes; `nodes` are the forest's. Raises ValueError when the matrix has another width."""
    check_width(forest, matrix)
    votes = np.zeros((len(matrix), forest.n_classes))
    reached = np.zeros(_BLOCK_ROWS, dtype=np.int32)
    compiled_walk()(np.ascontiguousarray(matrix, dtype=np.float64), nodes, forest.depth, reached, votes)
    return votes


@cache
def compiled_walk() -> Walk:
    """The function (matrix, nodes, depth, scratch, votes to add to) → nothing, compiled for its one kind of arguments.

    The first process ever compiles it, for a second or two, and numba leaves it on disk beside this file or in the
    user's cache folder. Where that cannot be written or read, as in a zip on a cluster, each process compiles anew.
    """
    try:
        return _ready(cached=True)
    except Exception:  # whatever is wrong with the cache: what is wrong with the code comes again
        return _ready(cached=False)


def _ready(cached: bool) -> Walk:
    from numba import njit

    # Without the GIL: threads of the service walk side by side. Never fastmath: the order of additions is Spark's.
    options: dict[str, Any] = {"cache": cached, "nogil": True, "error_model": "numpy", "_nrt": False}
    walk: Any = njit(**options)(_walk)
    none, floats = np.zeros(0, dtype=np.int32), np.zeros(0)
    walk(np.zeros((0, 1)), (none, none, floats, none, none, none, np.zeros(0, np.bool_), np.zeros((0, 1))), 0, none,
         np.zeros((0, 1)))  # fmt: skip
    return walk  # type: ignore[no-any-return]


def _walk(matrix: Floats, nodes: Nodes, depth: int, reached: Int32s, votes: Floats) -> None:
    roots, feature, threshold, children, categories, category_start, goes_left, shares = nodes
    by_threshold_alone = len(goes_left) == 0
    for first in range(0, len(matrix), _BLOCK_ROWS):
        size = min(_BLOCK_ROWS, len(matrix) - first)
        for tree in range(len(roots)):
            for row in range(size):
                reached[row] = roots[tree]
            for _ in range(depth):
                for row in range(size):
                    node = reached[row]
                    value = matrix[first + row, feature[node]]
                    left = value <= threshold[node]
                    if not by_threshold_alone and categories[node] != 0:
                        among = categories[node]
                        known = value >= 0 and value < among and value == np.floor(value)
                        left = goes_left[category_start[node] + (np.int64(value) if known else among)]
                    reached[row] = children[2 * node + np.int32(left)]
            for row in range(size):
                for label in range(votes.shape[1]):
                    votes[first + row, label] += shares[reached[row], label]
