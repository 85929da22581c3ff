"""The forest in arrays: checked, laid out, and walked with numpy; `walk` does the same compiled.

Source: RandomForestClassificationModel.predictRaw and CategoricalSplit of Spark ML (3.5 and 4.x agree). Every tree adds
its leaf's class counts divided by their sum; the sums over the trees, divided by their total, are the probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadcast.models.tree_shape import Ints, check_width, checked_shape, refuse, tree_sizes

Floats = NDArray[np.float64]

_MAX_CATEGORIES = 1 << 20
_MAX_CATEGORY_TABLE = 1 << 26
_CONTINUOUS = -1
# Cells (rows × trees) walked at once: the dozen working arrays of a chunk then stay below 16 MB.
_CHUNK_CELLS = 1 << 17


@dataclass(frozen=True, eq=False)
class NodeTable:
    """Nodes as Spark ML saves them, m rows in any order.

    `tree`, `node`, `left`, `right`, `feature`, `categories`: (m,) integers; −1 stands for no child, and in `categories`
    for a split at a threshold. `split_offsets` (m + 1,) cuts `split_values` into one list per node: the threshold, or
    the categories that go left. `counts`: (m, classes) weighted training rows per class.
    """

    tree: Ints
    node: Ints
    left: Ints
    right: Ints
    feature: Ints
    categories: Ints
    split_offsets: Ints
    split_values: Floats
    counts: Floats


@dataclass(frozen=True, eq=False)
class Forest:
    """All nodes of all trees behind one another; a leaf is its own child. Made by `build_forest`.

    `children` (2 × nodes,) holds the right child of node i at 2i and the left at 2i + 1. `categories` is 0 where the
    split is a threshold; elsewhere `goes_left[category_start + c]` says whether category c goes left, and the entry
    after the last category speaks for every other value. `shares` (nodes, classes) are the leaves' normalized counts.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    children: Ints
    categories: Ints
    category_start: Ints
    goes_left: NDArray[np.bool_]
    shares: Floats
    depth: int
    n_features: int

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.roots)

    @property
    def n_classes(self) -> int:
        """Number of classes, those never seen in training included."""
        return int(self.shares.shape[1])


def build_forest(table: NodeTable, n_features: int) -> Forest:
    """Check the nodes and lay them out for `predict`.

    Raises MalformedForestError for what is not a set of binary trees over `n_features` features: ids with gaps,
    children out of range, cycles, shared or unreachable nodes, unusable splits or counts.
    """
    table, sizes = _sorted(table)
    shape = checked_shape(table.node, table.left, table.right, sizes)
    leaf = shape.leaf
    threshold, categories, category_start, goes_left = _splits(table, leaf, n_features)
    return Forest(
        roots=shape.roots,
        feature=np.where(leaf, 0, table.feature),
        threshold=threshold,
        children=np.column_stack([shape.right, shape.left]).ravel(),
        categories=categories,
        category_start=category_start,
        goes_left=goes_left,
        shares=_shares(table.counts, leaf),
        depth=shape.depth,
        n_features=n_features,
    )


def with_features(forest: Forest, columns: Ints, n_features: int) -> Forest:
    """The same trees on a matrix of `n_features` columns, where feature i of the forest is column `columns[i]`."""
    return replace(forest, feature=columns[forest.feature], n_features=n_features)


def votes(forest: Forest, matrix: Floats) -> Floats:
    """Sum of the trees' class shares: (n, features) → (n, classes), Spark's rawPrediction.

    Memory beyond the answer is bounded, whatever n is. Raises ValueError when the matrix has another width.
    """
    check_width(matrix, forest.n_features)
    step = max(1, _CHUNK_CELLS // forest.n_trees)
    answer = np.empty((len(matrix), forest.n_classes))
    for start in range(0, len(matrix), step):
        rows = np.ascontiguousarray(matrix[start : start + step], dtype=np.float64)
        shares = forest.shares.take(_leaves(forest, rows), axis=0)
        # Added tree by tree, as Spark does: another order would change the last bits.
        np.add.reduce(shares.reshape(forest.n_trees, -1), axis=0, out=answer[start : start + step].reshape(-1))
    return answer


def probabilities(raw: Floats) -> Floats:
    """Votes (n, classes) divided by their total per row."""
    return raw / np.add.accumulate(raw, axis=1)[:, -1:]


def classes(raw: Floats) -> Ints:
    """Class with the most votes, the first of equals: (n, classes) → (n,). Spark decides on votes, so do we."""
    first: Ints = raw.argmax(axis=1)
    return first


def _leaves(forest: Forest, rows: Floats) -> Ints:
    """The leaf that each row reaches in each tree: (n, features) → (trees × n,), tree by tree."""
    n, width = rows.shape
    values = rows.ravel()
    row_start = np.tile(np.arange(n) * width, forest.n_trees)
    node = np.repeat(forest.roots, n)
    for _ in range(forest.depth):
        value = values.take(row_start + forest.feature.take(node))
        left = value <= forest.threshold.take(node)
        size = forest.categories.take(node)
        at = np.flatnonzero(size)
        if at.size:
            left[at] = _category_goes_left(forest, node[at], value[at], size[at])
        node = forest.children.take(2 * node + left)
    return node


def _category_goes_left(forest: Forest, node: Ints, value: Floats, size: Ints) -> NDArray[np.bool_]:
    known = (value >= 0) & (value < size) & (value == np.floor(value))
    category = np.where(known, value, size).astype(np.intp)
    return forest.goes_left.take(forest.category_start.take(node) + category)


def _sorted(table: NodeTable) -> tuple[NodeTable, Ints]:
    """The table ordered by tree and node, and the number of nodes per tree."""
    order = np.lexsort((table.node, table.tree))
    sizes = tree_sizes(table.tree)
    lengths = np.diff(table.split_offsets)
    starts = np.concatenate([[0], np.cumsum(lengths[order])])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths[order])
    values = table.split_values[np.repeat(table.split_offsets[:-1][order], lengths[order]) + within]
    columns = {name: getattr(table, name)[order] for name in ("tree", "node", "left", "right", "feature", "categories")}
    ordered = NodeTable(**columns, split_offsets=starts, split_values=values, counts=table.counts[order])
    return ordered, sizes


def _splits(table: NodeTable, leaf: NDArray[np.bool_], n_features: int) -> tuple[Floats, Ints, Ints, NDArray[np.bool_]]:
    """Threshold, number of categories (0 for a threshold), start in the category table, and that table."""
    inner = ~leaf
    if not ((table.feature[inner] >= 0) & (table.feature[inner] < n_features)).all():
        refuse(f"a split uses a feature outside 0 … {n_features - 1}")
    lengths = np.diff(table.split_offsets)
    by_threshold = inner & (table.categories == _CONTINUOUS)
    by_category = inner & ~by_threshold
    if not (lengths[by_threshold] == 1).all():
        refuse("a split on a number does not have exactly one threshold")
    threshold = np.full(len(leaf), np.inf)
    threshold[by_threshold] = table.split_values[table.split_offsets[:-1][by_threshold]]
    if np.isnan(threshold).any():
        refuse("a threshold is not a number")
    categories = np.where(by_category, table.categories, 0)
    if (categories[by_category] < 1).any() or (categories > _MAX_CATEGORIES).any():
        refuse("a split has an impossible number of categories")
    entries = np.where(by_category, categories + 1, 0)
    if entries.sum() > _MAX_CATEGORY_TABLE:
        refuse("its splits have too many categories")
    category_start = np.cumsum(entries) - entries
    return threshold, categories, category_start, _category_table(table, by_category, category_start)


def _category_table(table: NodeTable, by_category: NDArray[np.bool_], start: Ints) -> NDArray[np.bool_]:
    lengths = np.where(by_category, np.diff(table.split_offsets), 0)
    listed = np.repeat(by_category, np.diff(table.split_offsets))
    values = table.split_values[listed]
    size = np.repeat(table.categories, lengths)
    if not ((values >= 0) & (values < size) & (values == np.floor(values))).all():
        refuse("a split names a category that its feature does not have")
    goes_left = np.zeros(int((table.categories[by_category] + 1).sum()), dtype=np.bool_)
    goes_left[np.repeat(start, lengths) + values.astype(np.intp)] = True
    # Spark keeps the smaller side as the list: when that is the right side, a value outside the categories goes left.
    at = np.flatnonzero(by_category)
    goes_left[start[at] + table.categories[at]] = lengths[at] > table.categories[at] // 2
    return goes_left


def _shares(counts: Floats, leaf: NDArray[np.bool_]) -> Floats:
    """Class counts over their sum; zeros where the node is no leaf."""
    if counts.ndim != 2 or not counts.shape[1]:
        refuse("its nodes hold no class counts")
    totals = np.add.accumulate(counts, axis=1)[:, -1]
    if not np.isfinite(totals[leaf]).all() or (counts[leaf] < 0).any() or (totals[leaf] <= 0).any():
        refuse("a leaf has no usable class counts")
    return np.where(leaf[:, None], counts / np.where(leaf, totals, 1.0)[:, None], 0.0)
