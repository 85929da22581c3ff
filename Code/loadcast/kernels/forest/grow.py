"""A random forest grown on one machine: the nodes that Spark ML's own fit gives, bit for bit.

Source: RandomForest.runBagged of Spark ML 4. Memory: for each tree and row 5 bytes, for each number of the rows one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.forest.bins import BinnedRows
from loadcast.kernels.forest.bootstrap import compiled_draw, compiled_order
from loadcast.kernels.forest.queue import BYTES_OF_BIN, compiled_select
from loadcast.kernels.forest.random_numbers import java_state, well_state
from loadcast.kernels.forest.split import CLASSES, Choice, Group, Scratch, Splits, TreeRows, compiled_split
from loadcast.kernels.forest.threads import Each, side_by_side
from loadcast.kernels.forest.thresholds import Bins
from loadcast.kernels.forest.tree_order import tree_order

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]
#: Pieces of a group for each thread: small enough that none waits long for the others, nor a signal for any.
_PIECES = 8
_EPSILON = 2.0**-52


@dataclass(frozen=True)
class Growth:
    """How a forest is grown; `most_bytes` bounds Spark's statistics of the nodes that are split together.

    `least_rows` are those that a child must have; `random_splits` is what split.Choice says of its seed.
    """

    trees: int
    depth: int
    seed: int
    drawn: int
    most_bytes: int
    threads: int = 1
    least_rows: int = 1
    random_splits: bool = False

    def choice(self, bins: Bins) -> Choice:
        """How the split of a node is chosen."""
        seed = np.uint64(self.seed % 2**63 + 1) if self.random_splits else np.uint64(0)
        return Choice(self.least_rows, seed, bins.thresholds, bins.starts)


class Grown:
    """The nodes of all trees, in the order in which they were made; node t is the root of tree t.

    `left` is the left child (nodes,), 0 where there is none; the right one follows it. `feature` and `last_bin` say
    where a node is split, `gain` what that gained: INVALID where each split was, 0 where nobody asked. `counts` are
    weights by class (nodes, CLASSES); `begin` and `end` are its rows in the tree's order.
    """

    def __init__(self, trees: int) -> None:
        self.size = trees
        self.tree = np.arange(trees, dtype=np.int32)
        self.level = np.zeros(trees, np.int32)
        self.left = np.zeros(trees, np.int64)
        self.feature, self.last_bin = np.zeros(trees, np.int32), np.zeros(trees, np.int32)
        self.gain = np.zeros(trees)
        self.counts = np.zeros((trees, CLASSES), np.int64)
        self.begin, self.end = np.zeros(trees, np.int64), np.zeros(trees, np.int64)

    def add(self, number: int) -> slice:
        """Room for so many nodes more."""
        first, self.size = self.size, self.size + number
        if self.size > len(self.tree):
            for name, array in vars(self).items():
                if name != "size":  # all others are arrays of nodes
                    larger = np.zeros((2 * self.size, *array.shape[1:]), array.dtype)
                    larger[: len(array)] = array
                    setattr(self, name, larger)
        return slice(first, self.size)


def grow(binned: BinnedRows, bins: Bins, labels: Bytes, partitions: Sequence[int], how: Growth) -> Grown:
    """Grow the trees on rows binned by `bins` with labels (n,) below CLASSES.

    `partitions` are the numbers of rows in each of Spark's: rows are drawn for the trees partition by partition.
    """
    with side_by_side(how.threads) as each:
        grown = Grown(how.trees)
        rows = _draw(binned, labels, partitions, how, grown, each)
        _Growing(rows, grown, bins, how, each).all()
    return grown


def _draw(
    binned: BinnedRows, labels: Bytes, partitions: Sequence[int], how: Growth, grown: Grown, each: Each
) -> TreeRows:
    """The rows, and which of them each tree sees."""
    n = len(labels)
    weights, order = np.empty((how.trees, n), np.uint8), np.empty((how.trees, n), np.uint32)
    ends = np.concatenate([[0], np.cumsum(partitions)]).astype(np.int64)

    def draw(partition: int) -> None:
        state = well_state(how.seed + partition + 1)
        compiled_draw()(state, weights, int(ends[partition]), int(ends[partition + 1]))

    def put_in_order(tree: int) -> None:
        grown.end[tree] = compiled_order()(weights[tree], labels, order[tree], grown.counts[tree])

    list(each(draw, range(len(partitions))))
    list(each(put_in_order, range(how.trees)))
    return TreeRows(binned.numbers, binned.flags, binned.columns, labels, weights, order)


class _Growing:
    """A forest as it grows."""

    def __init__(self, rows: TreeRows, grown: Grown, bins: Bins, how: Growth, each: Each) -> None:
        self._rows, self._grown, self._sizes, self._how, self._each = rows, grown, bins.sizes, how, each
        self._choice = how.choice(bins)
        self._state = java_state(how.seed)
        #: Nodes that wait: the last one is the next.
        self._waiting: Int64s = np.arange(how.trees, dtype=np.int64)
        self._scratch: list[Scratch] = []

    def all(self) -> None:
        """Grow until no node waits."""
        while len(self._waiting):
            nodes, features = self._select()
            group = self._group(nodes, features)
            splits = self._split(group)
            self._record(nodes, splits)
            self._queue(self._children(nodes))

    def _select(self) -> tuple[Int64s, NDArray[np.int32]]:
        """The nodes that are split next, in the order in which they were waiting, and their features."""
        how, waiting = self._how, self._waiting
        most = min(len(waiting), how.most_bytes // (BYTES_OF_BIN * how.drawn) + 2)  # 1 beyond the bytes, 1 refused
        features = np.empty((most, how.drawn), np.int32)
        number = compiled_select()(waiting, self._state, self._sizes, how.most_bytes, features)
        self._waiting = waiting[: len(waiting) - number]
        return waiting[len(waiting) - number :][::-1], features[:number]

    def _group(self, nodes: Int64s, features: NDArray[np.int32]) -> Group:
        grown = self._grown
        return Group(grown.tree[nodes], grown.begin[nodes], grown.end[nodes], features, grown.counts[nodes])

    def _split(self, group: Group) -> Splits:
        """Split all nodes, pieces of them side by side."""
        number = len(group.tree)
        splits = Splits(
            np.empty(number, np.int32),
            np.empty(number, np.int32),
            np.empty(number),
            np.zeros((number, CLASSES), np.int64),
            np.zeros(number, np.int64),
        )
        cost = np.cumsum(group.end - group.begin)
        shares = np.linspace(0, cost[-1], _PIECES * self._how.threads + 1)
        cuts = np.searchsorted(cost, shares[1:-1], side="right")
        bounds = np.unique(np.concatenate([[0], cuts, [number]]))
        list(self._each(partial(self._split_piece, group, splits), bounds[:-1], bounds[1:]))
        return splits

    def _split_piece(self, group: Group, splits: Splits, first: int, last: int) -> None:
        piece = Group._make(array[first:last] for array in group)
        found = Splits._make(array[first:last] for array in splits)
        scratch = self._scratch.pop() if self._scratch else self._new_scratch()
        compiled_split()(self._rows, piece, self._sizes, scratch, found, self._choice)
        self._scratch.append(scratch)

    def _new_scratch(self) -> Scratch:
        drawn = self._how.drawn
        return Scratch.of(self._rows, drawn, int(np.sort(self._sizes)[-drawn:].sum()))

    def _record(self, nodes: Int64s, splits: Splits) -> None:
        grown = self._grown
        grown.feature[nodes], grown.last_bin[nodes], grown.gain[nodes] = splits[:3]
        parted = nodes[split := splits.gain > 0]
        children = grown.add(2 * len(parted))
        left, right = (np.arange(children.start + side, children.stop, 2) for side in (0, 1))
        grown.left[parted] = left
        for side in (left, right):
            grown.tree[side], grown.level[side] = grown.tree[parted], grown.level[parted] + 1
        grown.counts[left] = splits.left_counts[split]
        grown.counts[right] = grown.counts[parted] - splits.left_counts[split]
        grown.begin[left], grown.end[left] = grown.begin[parted], splits.left_end[split]
        grown.begin[right], grown.end[right] = splits.left_end[split], grown.end[parted]

    def _children(self, nodes: Int64s) -> Int64s:
        """The children that may be split themselves, in the order in which Spark queues them."""
        grown = self._grown
        parted = nodes[grown.left[nodes] > 0]
        order = {tree: place for place, tree in enumerate(tree_order(grown.tree[nodes].tolist()))}
        places = np.array([order[tree] for tree in grown.tree[parted].tolist()], np.int64)
        parted = parted[np.argsort(places, kind="stable")]
        children = np.column_stack([grown.left[parted], grown.left[parted] + 1]).ravel()
        mixed = np.abs(impurities(grown.counts[children])) >= _EPSILON
        return children[mixed & (grown.level[children] < self._how.depth)]

    def _queue(self, children: Int64s) -> None:
        self._waiting = np.concatenate([self._waiting, children])


def impurities(counts: NDArray[Any]) -> NDArray[np.float64]:
    """The impurity of counts by class (n, CLASSES), computed in Spark's order."""
    totals = counts.sum(axis=1).astype(np.float64)
    impurity = np.ones(len(counts))
    for label in range(CLASSES):
        shares = np.divide(counts[:, label], totals, out=np.zeros(len(counts)), where=totals > 0)
        impurity -= shares * shares
    return np.where(totals > 0, impurity, 0.0)
