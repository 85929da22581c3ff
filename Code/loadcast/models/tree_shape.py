"""The shape of saved trees, checked: what makes a table of nodes a set of binary trees."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from loadcast.errors import ArtefactError

Ints = NDArray[np.intp]

MAX_DEPTH = 30  # Spark's own limit
_NO_CHILD = -1


class MalformedForestError(ArtefactError):
    """What is wrong with nodes that make no forest, in a few words."""


def refuse(what: str) -> NoReturn:
    """Raise MalformedForestError."""
    raise MalformedForestError(what)


def check_width(matrix: NDArray[np.float64], n_features: int) -> None:
    """Raise ValueError where a matrix is not (rows, features of the model)."""
    if matrix.ndim != 2 or matrix.shape[1] != n_features:
        raise ValueError(f"the matrix is {matrix.shape}, wanted (rows, {n_features})")


class TreeShape(NamedTuple):
    """Trees behind one another: `left` and `right` (m,) count from the first node of all, and a leaf is its own child.

    `leaf` (m,) says which nodes are leaves; `roots` (trees,) are the first nodes of the trees.
    """

    leaf: NDArray[np.bool_]
    left: Ints
    right: Ints
    roots: Ints
    depth: int


def tree_sizes(tree: Ints) -> Ints:
    """How many nodes each tree has: the number of its tree for each node → (trees,). Raises MalformedForestError."""
    if not len(tree):
        refuse("it has no nodes")
    trees, sizes = np.unique(tree, return_counts=True)
    if not np.array_equal(trees, np.arange(len(trees))):
        refuse("the tree numbers are not 0, 1, 2, …")
    return sizes


def checked_shape(node: Ints, left: Ints, right: Ints, sizes: Ints) -> TreeShape:
    """The shape of trees of `sizes` nodes, ordered by tree and node; children are numbered within their tree.

    Raises MalformedForestError for numbers with gaps, children out of range, cycles, shared or unreachable nodes.
    """
    first, size = np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes)
    own = np.arange(len(size))
    if not np.array_equal(node, own - first):
        refuse("the node numbers of a tree are not 0, 1, 2, …")
    leaf = (left == _NO_CHILD) & (right == _NO_CHILD)
    inner = ~leaf
    for child in (left[inner], right[inner]):
        if not ((child > 0) & (child < size[inner])).all():
            refuse("a node names a child that its tree does not have")
        # Nodes are numbered from the root down: a child that comes before its parent closes a cycle.
        if not (child > node[inner]).all():
            refuse("a node is its own descendant")
    children = np.concatenate([(first + side)[inner] for side in (left, right)])
    if not np.array_equal(np.bincount(children, minlength=len(size)), node > 0):
        refuse("a node has two parents or none")
    left, right = np.where(leaf, own, first + left), np.where(leaf, own, first + right)
    roots = np.flatnonzero(node == 0)
    return TreeShape(leaf, left, right, roots, _depth(left, right, roots, leaf))


def _depth(left: Ints, right: Ints, roots: Ints, leaf: NDArray[np.bool_]) -> int:
    level, depth = roots[~leaf[roots]], 0
    while level.size:
        depth += 1
        if depth > MAX_DEPTH:
            refuse(f"a tree is deeper than {MAX_DEPTH}")
        level = np.concatenate([left[level], right[level]])
        level = level[~leaf[level]]
    return depth
