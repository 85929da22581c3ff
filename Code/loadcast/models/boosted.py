"""Boosted trees in arrays: checked, laid out, and walked with numpy; `boosted_walk` does the same compiled.

As xgboost answers: features and thresholds are numbers of 32 bits, less than the threshold goes left, and a missing
value where the node sends such. The leaves' values are added, in 32 bits, tree by tree to the margin of the tree's own
class; the softmax of the margins are the probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.models.tree_shape import Ints, check_width, checked_shape, refuse, tree_sizes

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

MISSING = np.float32(schema.MISSING)
# Cells (rows × trees) walked at once: the dozen working arrays of a chunk then stay below 16 MB.
_CHUNK_CELLS = 1 << 17


@dataclass(frozen=True, eq=False)
class BoostedNodes:
    """Nodes as they are saved, m rows in any order.

    `tree`, `node`, `label` (the class that the tree speaks for), `feature`, `left`, `right`: (m,) integers; −1 stands
    for no child. `threshold` and `value`: (m,) numbers of 32 bits; the one counts in inner nodes, the other in leaves.
    `missing_left`: (m,) whether a missing value goes left.
    """

    tree: Ints
    node: Ints
    label: Ints
    feature: Ints
    threshold: Singles
    left: Ints
    right: Ints
    missing_left: NDArray[np.bool_]
    value: Singles


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """All nodes of all trees behind one another; a leaf is its own child. Made by `build_boosted`.

    `column` (trees,): the class of each tree, counted from 0. `value` (nodes,): the threshold, or what a leaf adds.
    `children` (2 × nodes,) holds the right child of node i at 2i and the left at 2i + 1. `base` (classes,): the margins
    before the first tree.
    """

    roots: Ints
    column: Ints
    feature: Ints
    value: Singles
    children: Ints
    missing_left: NDArray[np.bool_]
    base: Singles
    depth: int
    n_features: int

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.roots)


def build_boosted(table: BoostedNodes, base: Singles, n_features: int) -> BoostedTrees:
    """Check the nodes and lay them out for `margins`; `base` (classes,) are finite.

    Raises MalformedForestError for what is not a set of binary trees over `n_features` features: ids with gaps,
    children out of range, cycles, shared or unreachable nodes, classes that there are not, numbers that are none.
    """
    sizes = tree_sizes(table.tree)
    order = np.lexsort((table.node, table.tree))
    table = BoostedNodes(**{name: values[order] for name, values in vars(table).items()})
    shape = checked_shape(table.node, table.left, table.right, sizes)
    leaf, label = shape.leaf, table.label
    if not np.array_equal(label, np.repeat(label[shape.roots], sizes)) or not np.isin(label, _LABELS).all():
        refuse(f"the trees are not each of one of the classes {_LABELS}")
    if not ((table.feature[~leaf] >= 0) & (table.feature[~leaf] < n_features)).all():
        refuse(f"a split uses a feature outside 0 … {n_features - 1}")
    value = np.where(leaf, table.value, table.threshold).astype(np.float32)
    if not np.isfinite(value).all():
        refuse("a threshold or a leaf's value is not a finite number")
    return BoostedTrees(
        roots=shape.roots,
        column=label[shape.roots] - min(_LABELS),
        feature=np.where(leaf, 0, table.feature),
        value=value,
        children=np.column_stack([shape.right, shape.left]).ravel(),
        missing_left=table.missing_left & ~leaf,
        base=base,
        depth=shape.depth,
        n_features=n_features,
    )


_LABELS = list(schema.CLASS_NAMES)


def margins(trees: BoostedTrees, matrix: Floats) -> Singles:
    """The sums of the leaves' values: (n, features) → (n, classes).

    Memory beyond the answer is bounded, whatever n is. Raises ValueError when the matrix has another width.
    """
    check_width(matrix, trees.n_features)
    step = max(1, _CHUNK_CELLS // trees.n_trees)
    answer = start_of(trees, len(matrix))
    for start in range(0, len(matrix), step):
        rows = answer[start : start + step]
        reached = _leaves(trees, in_singles(matrix[start : start + step]))
        # Tree by tree, as xgboost does: another order would change the last bits.
        for column, added in zip(trees.column, trees.value.take(reached).reshape(trees.n_trees, -1), strict=True):
            rows[:, column] += added
    return answer


def start_of(trees: BoostedTrees, n_rows: int) -> Singles:
    """The margins (n_rows, classes) before the first tree."""
    return np.tile(trees.base, (n_rows, 1))


def in_singles(matrix: Floats) -> Singles:
    """The matrix as numbers of 32 bits, in one piece; what is too large for them is infinite, as in C."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(matrix, dtype=np.float32)


def softmax(margin: Singles) -> Singles:
    """Margins (n, classes) → probabilities, with the roundings of xgboost: its own choice of a class sees these."""
    shifted = margin - margin.max(axis=1, keepdims=True)
    powers = np.exp(shifted.astype(np.float64)).astype(np.float32)
    totals = np.add.accumulate(powers, axis=1, dtype=np.float64)[:, -1:].astype(np.float32)
    answer: Singles = powers / totals
    return answer


def _leaves(trees: BoostedTrees, rows: Singles) -> Ints:
    """The leaf that each row reaches in each tree: (n, features) → (trees × n,), tree by tree."""
    n, width = rows.shape
    values = rows.ravel()
    row_start = np.tile(np.arange(n) * width, trees.n_trees)
    node = np.repeat(trees.roots, n)
    for _ in range(trees.depth):
        value = values.take(row_start + trees.feature.take(node))
        missing = np.isnan(value) | (value == MISSING)
        left = np.where(missing, trees.missing_left.take(node), value < trees.value.take(node))
        node = trees.children.take(2 * node + left)
    return node
