"""The walk through a forest's trees, compiled by numba: the same bits as forest.votes, several times sooner.

numba need not be installed: the service alone does without it, and the walk with numpy answers then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadcast.models.forest import Floats, Forest
from loadcast.models.tree_shape import check_width

Words = NDArray[np.uint32]
Flags = NDArray[np.bool_]
Walk = Callable[[Floats, "Nodes", int, Words, Floats], None]


class Nodes(NamedTuple):
    """Nodes of forest.Forest as the compiled code takes them: a leaf is its own child.

    `splits` (nodes, 4): feature, right child, left child, number of categories, all of one node side by side.
    Unsigned, as numba would otherwise look at each index for whether it counts from the end.
    """

    roots: Words
    splits: Words
    threshold: Floats
    category_start: Words
    goes_left: Flags
    shares: Floats


#: Rows that go down a tree together, level by level: a core looks up many nodes at a time, where one row alone would
#: wait for each. With the nodes of a tree they stay in the core's own cache.
BLOCK_ROWS = 32


_used: list[Walk] = []


def use(function: Walk) -> None:
    """Walk with this function from now on: the same, had in another way."""
    _used[:] = [function]


def is_available() -> bool:
    """Whether the walk can be had compiled."""
    return bool(_used) or _has_compiler()


@cache
def _has_compiler() -> bool:
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
    """The forest's nodes, small and close together."""
    splits = np.column_stack([forest.feature, forest.children.reshape(-1, 2), forest.categories])
    return Nodes(
        forest.roots.astype(np.uint32),
        np.ascontiguousarray(splits, dtype=np.uint32),
        forest.threshold,
        forest.category_start.astype(np.uint32),
        forest.goes_left,
        forest.shares,
    )


def compiled_votes(forest: Forest, nodes: Nodes, matrix: Floats) -> Floats:
    """As forest.votes; `nodes` are the forest's. Raises ValueError when the matrix has another width."""
    check_width(matrix, forest.n_features)
    votes = np.zeros((len(matrix), forest.n_classes))
    reached = np.zeros(BLOCK_ROWS, dtype=np.uint32)
    walk = _used[0] if _used else compiled_walk()
    walk(np.ascontiguousarray(matrix, dtype=np.float64), nodes, forest.depth, reached, votes)
    return votes


@cache
def compiled_walk() -> Walk:
    """The function (matrix, nodes, depth, scratch, votes to add to) → nothing, compiled for its kind of arguments."""
    from loadcast.kernels.words import ready  # numba, which may be missing

    words = np.zeros(0, dtype=np.uint32)
    nothing = Nodes(words, words.reshape(0, 4), np.zeros(0), words, np.zeros(0, np.bool_), np.zeros((0, 1)))
    # Without the GIL: threads of the service walk side by side. Never fastmath: the order of additions is Spark's.
    return ready(walk_trees, np.zeros((0, 1)), nothing, 0, words, np.zeros((0, 1)), nogil=True)


def walk_trees(matrix: Floats, nodes: Nodes, depth: int, reached: Words, votes: Floats) -> None:
    """What is compiled: adds each tree's shares to `votes` (n, classes); `reached` (BLOCK_ROWS,) is scratch."""
    splits, by_threshold_alone = nodes.splits, len(nodes.goes_left) == 0
    for first in range(0, len(matrix), BLOCK_ROWS):
        rows = matrix[first : first + BLOCK_ROWS]
        for tree in range(len(nodes.roots)):
            for row in range(len(rows)):
                reached[row] = nodes.roots[tree]
            for _ in range(depth):
                for row in range(len(rows)):
                    node = reached[row]
                    value = rows[row, splits[node, 0]]
                    left = value <= nodes.threshold[node]
                    if not by_threshold_alone and splits[node, 3] != 0:
                        among = splits[node, 3]
                        known = value >= 0 and value < among and value == np.floor(value)
                        left = nodes.goes_left[nodes.category_start[node] + (np.uint32(value) if known else among)]
                    reached[row] = splits[node, np.uint32(1) + np.uint32(left)]
            for row in range(len(rows)):
                for label in range(votes.shape[1]):
                    votes[first + row, label] += nodes.shares[reached[row], label]
