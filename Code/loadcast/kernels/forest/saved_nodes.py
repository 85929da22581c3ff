"""A grown forest as the table of nodes that Spark ML saves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast.kernels.forest.grow import Grown, impurities
from loadcast.kernels.forest.split import INVALID
from loadcast.kernels.forest.thresholds import Bins

Flags = NDArray[np.bool_]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]

_NO_CHILD, _CONTINUOUS = -1, -1
#: What Spark saves as the gain of a leaf, and as the impurity of one that it found no split for.
_NO_GAIN, _NO_IMPURITY = -1.0, -1.0


def _whole(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_NUMBERS = pa.list_(pa.field("element", pa.float64(), nullable=False))
_SPLIT = pa.struct(
    [
        _whole("featureIndex", pa.int32()),
        pa.field("leftCategoriesOrThreshold", _NUMBERS),
        _whole("numCategories", pa.int32()),
    ]
)
_NODE = pa.struct(
    [
        _whole("id", pa.int32()),
        _whole("prediction", pa.float64()),
        _whole("impurity", pa.float64()),
        pa.field("impurityStats", _NUMBERS),
        _whole("rawCount", pa.int64()),
        _whole("gain", pa.float64()),
        _whole("leftChild", pa.int32()),
        _whole("rightChild", pa.int32()),
        pa.field("split", _SPLIT),
    ]
)
#: The table `data` of a saved RandomForestClassificationModel of Spark 4.
NODES_SCHEMA = pa.schema([_whole("treeID", pa.int32()), pa.field("nodeData", _NODE)])


def saved_nodes(grown: Grown, bins: Bins) -> pa.Table:
    """Tree by tree, each node before its children and those of the left before those of the right.

    A node whose children are leaves of one class is a leaf itself: Spark prunes so.
    """
    size = grown.size
    counts, level = grown.counts[:size], grown.level[:size]
    prediction = counts.argmax(axis=1)
    left = _pruned(grown.left[:size], prediction, level)
    nodes, ids, right = _numbered(left, grown.tree[:size], level)
    leaf, own = left[nodes] == 0, counts[nodes]
    impurity = np.where(grown.gain[nodes] == INVALID, _NO_IMPURITY, impurities(own))
    node = [
        pa.array(ids.astype(np.int32)),
        pa.array(prediction[nodes].astype(np.float64)),
        pa.array(impurity),
        _lists(own.astype(np.float64).ravel(), np.full(len(nodes), own.shape[1])),
        pa.array(own.sum(axis=1)),
        pa.array(np.where(leaf, _NO_GAIN, grown.gain[nodes])),
        pa.array(np.where(leaf, _NO_CHILD, ids + 1).astype(np.int32)),
        pa.array(np.where(leaf, _NO_CHILD, right).astype(np.int32)),
        _splits(grown, bins, nodes, leaf),
    ]
    columns = [pa.array(grown.tree[nodes]), pa.StructArray.from_arrays(node, fields=list(_NODE))]
    return pa.Table.from_arrays(columns, schema=NODES_SCHEMA)


def _splits(grown: Grown, bins: Bins, nodes: Int64s, leaf: Flags) -> pa.Array:
    """The feature of each node and its threshold, as a list; a leaf has neither."""
    feature = np.where(leaf, _NO_CHILD, grown.feature[nodes]).astype(np.int32)
    places = (bins.starts[grown.feature[nodes]] + grown.last_bin[nodes])[~leaf]
    kinds = np.full(len(nodes), _CONTINUOUS, np.int32)
    thresholds = _lists(bins.thresholds[places], (~leaf).astype(np.int64))
    return pa.StructArray.from_arrays([pa.array(feature), thresholds, pa.array(kinds)], fields=list(_SPLIT))


def _lists(numbers: NDArray[np.float64], lengths: Int64s) -> pa.Array:
    cuts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(cuts), pa.array(numbers), _NUMBERS)


def _pruned(left: Int64s, prediction: Int64s, level: Int32s) -> Int64s:
    """The left children that stay, from the deepest nodes up: over two leaves of one class none."""
    left = left.copy()
    for depth in range(int(level.max()) - 1, -1, -1):
        nodes = np.flatnonzero((level == depth) & (left > 0))
        one, other = left[nodes], left[nodes] + 1
        same = (left[one] == 0) & (left[other] == 0) & (prediction[one] == prediction[other])
        left[nodes[same]] = 0
    return left


def _numbered(left: Int64s, tree: Int32s, level: Int32s) -> tuple[Int64s, Int64s, Int64s]:
    """The nodes as they are saved, the number of each in its tree, and that of its right child (-1: none)."""
    deepest, below = int(level.max()), np.ones(len(left), np.int64)  # nodes of the subtree
    parents = [np.flatnonzero((level == depth) & (left > 0)) for depth in range(deepest)]
    for nodes in reversed(parents):
        below[nodes] += below[left[nodes]] + below[left[nodes] + 1]
    number = np.where(level == 0, 0, -1)
    for nodes in parents:
        nodes = nodes[number[nodes] >= 0]
        number[left[nodes]] = number[nodes] + 1
        number[left[nodes] + 1] = number[nodes] + 1 + below[left[nodes]]
    kept = np.flatnonzero(number >= 0)
    kept = kept[np.lexsort((number[kept], tree[kept]))]
    # Of a leaf, whose left is 0, what lies there does not count; a forest of one leaf has nothing there.
    return kept, number[kept], np.where(left[kept] > 0, number.take(left[kept] + 1, mode="clip"), _NO_CHILD)
