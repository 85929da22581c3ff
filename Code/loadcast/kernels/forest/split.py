"""The best split of a node, and its rows parted by it; compiled.

Sources: RandomForest.binsToBestSplit and calculateImpurityStats, Gini of Spark ML. Counts are whole numbers, exact in
any order; what is rounded is computed in Spark's order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.words import inner, lowest_bit, mixed, ready

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Uint32s = NDArray[np.uint32]
Uint64s = NDArray[np.uint64]

#: Labels counted, 0 among them, which never occurs.
CLASSES = 4
#: Rows that are looked at together.
BLOCK_ROWS = 32
#: Spark's mark of a split that would leave a side without rows.
INVALID = -1.7976931348623157e308
_FLAG_BINS = 2
_0, _1 = np.uint64(0), np.uint64(1)


class TreeRows(NamedTuple):
    """The rows as all trees see them: bins.BinnedRows' three arrays, `labels` (rows,), `weights` (trees, rows).

    `order` (trees, rows) holds each tree's rows, those of a node behind one another.
    """

    numbers: Bytes
    flags: Uint64s
    columns: Int32s
    labels: Bytes
    weights: Bytes
    order: Uint32s


class Group(NamedTuple):
    """Nodes that are split together: tree and range in its order (nodes,), features (nodes, drawn), counts by class."""

    tree: Int32s
    begin: Int64s
    end: Int64s
    features: Int32s
    counts: Int64s


class Splits(NamedTuple):
    """The best split of each node of a group: `feature` and `last_bin` that goes left, gain, left counts and rows."""

    feature: Int32s
    last_bin: Int32s
    gain: Floats
    left_counts: Int64s
    left_end: Int64s


class Choice(NamedTuple):
    """How the split of a node is chosen: each side must have `least_rows`.

    `seed` is 0 where all thresholds of a feature compete, as in Spark. Else one of them does, drawn by the seed evenly
    over the numbers that the node has: extremely randomized trees. `thresholds` and `starts` are thresholds.Bins'.
    Source: Geurts, Ernst and Wehenkel, Extremely randomized trees, 2006.
    """

    least_rows: int
    seed: np.uint64
    thresholds: Floats
    starts: Int64s


class Scratch(NamedTuple):
    """What a thread works in, for a node: where the counts of each feature drawn begin, `offsets` (drawn,).

    Of features with more than two bins the `columns` and `places` (drawn,), of the others the `wanted` bits of the
    flags and the place of each, `bits` (words × 64,). `counts` (bins, CLASSES), `rows` (rows,), `sums` (2, CLASSES).
    `labels`, `weights`, `numbers` and `flags` are of BLOCK_ROWS rows.
    """

    offsets: Int64s
    columns: Uint64s
    places: Uint64s
    wanted: Uint64s
    bits: Uint64s
    counts: Int32s
    rows: Uint32s
    sums: Int64s
    labels: Bytes
    weights: Bytes
    numbers: Bytes
    flags: Uint64s

    @classmethod
    def of(cls, rows: TreeRows, drawn: int, bins: int) -> Scratch:
        """Room for nodes that are split at so many features, of so many bins together."""
        words = rows.flags.shape[1]
        return cls(
            np.zeros(drawn, np.int64),
            np.zeros(drawn, np.uint64),
            np.zeros(drawn, np.uint64),
            np.zeros(words, np.uint64),
            np.zeros(words * 64, np.uint64),
            np.zeros((bins, CLASSES), np.int32),
            np.zeros(len(rows.labels), np.uint32),
            np.zeros((2, CLASSES), np.int64),
            np.zeros(BLOCK_ROWS, np.uint8),
            np.zeros(BLOCK_ROWS, np.uint8),
            np.zeros((BLOCK_ROWS, rows.numbers.shape[1]), np.uint8),
            np.zeros((BLOCK_ROWS, words), np.uint64),
        )


@inner
def gini(counts: Int64s, total: float) -> float:
    """The impurity of counts by class (CLASSES,)."""
    impurity = 1.0
    for label in range(CLASSES):
        share = counts[label] / total
        impurity -= share * share
    return impurity


@inner
def _prepare(rows: TreeRows, group: Group, node: int, sizes: Int32s, scratch: Scratch) -> int:
    """Lay out the node's counts, all 0; gives how many features have more than two bins."""
    for index in range(len(scratch.wanted)):
        scratch.wanted[index] = _0
    bins, numbers = 0, 0
    for index in range(group.features.shape[1]):
        feature = group.features[node, index]
        column, size = rows.columns[feature], sizes[feature]
        scratch.offsets[index] = bins
        if size == _FLAG_BINS:
            scratch.wanted[column >> 6] |= _1 << np.uint64(column & 63)
            scratch.bits[column] = bins + 1
        elif size > _FLAG_BINS:
            scratch.columns[numbers], scratch.places[numbers] = column, bins
            numbers += 1
        bins += size
    for place in range(bins):
        for label in range(CLASSES):
            scratch.counts[place, label] = 0
    return numbers


@inner
def _take(rows: TreeRows, tree: int, begin: int, taken: int, scratch: Scratch) -> None:
    """Copy rows of a tree side by side.

    They lie anywhere, and a core waits for many of them at once: counting them as they come, it would for each.
    """
    for index in range(taken):
        row = rows.order[tree, begin + index]
        scratch.labels[index], scratch.weights[index] = rows.labels[row], rows.weights[tree, row]
        for column in range(rows.numbers.shape[1]):
            scratch.numbers[index, column] = rows.numbers[row, column]
        for word in range(rows.flags.shape[1]):
            scratch.flags[index, word] = rows.flags[row, word] & scratch.wanted[word]


@inner
def _count(rows: TreeRows, group: Group, node: int, sizes: Int32s, scratch: Scratch) -> None:
    """Count the node's rows by feature drawn, bin and class.

    Of a feature of two bins only those in the second are counted, which of the slots of a category are few.
    """
    numbers, counts = _prepare(rows, group, node, sizes, scratch), scratch.counts
    for begin in range(group.begin[node], group.end[node], BLOCK_ROWS):
        taken = min(BLOCK_ROWS, group.end[node] - begin)
        _take(rows, group.tree[node], begin, taken, scratch)
        for taken_row in range(taken):
            label, weight = scratch.labels[taken_row], np.int32(scratch.weights[taken_row])
            values = scratch.numbers[taken_row]
            for index in range(numbers):
                counts[scratch.places[index] + np.uint64(values[scratch.columns[index]]), label] += weight
            for index in range(len(scratch.wanted)):
                found = scratch.flags[taken_row, index]
                while found != _0:
                    counts[scratch.bits[(index << 6) + lowest_bit(found)], label] += weight
                    found &= found - _1
    for index in range(group.features.shape[1]):
        if sizes[group.features[node, index]] == _FLAG_BINS:
            first = scratch.offsets[index]
            for label in range(CLASSES):
                counts[first, label] = group.counts[node, label] - counts[first + 1, label]


@inner
def _drawn_bin(group: Group, node: int, feature: int, found: tuple[int, int], how: Choice) -> int:
    """The last bin that goes left, drawn among those of a node, of which `found` are the first and the last.

    A number is drawn between the thresholds that would part the node's rows, and as far beyond the last as these lie
    apart on average: the threshold at or below it counts.
    """
    first, last = how.starts[feature] + found[0], how.starts[feature] + found[1] - 1
    low, high = how.thresholds[first], how.thresholds[last]
    beyond = (high - low) / max(1, last - first)
    place = np.uint64(group.tree[node]) << np.uint64(44) ^ np.uint64(group.begin[node]) << np.uint64(22)
    word = mixed(mixed(mixed(how.seed, place), np.uint64(group.end[node])), np.uint64(feature))
    number = low + (high + beyond - low) * (float(word >> np.uint64(11)) / 9007199254740992.0)
    chosen = first
    while chosen < last and how.thresholds[chosen + 1] <= number:
        chosen += 1
    return int(chosen - how.starts[feature])


@inner
def _candidates(group: Group, node: int, index: int, sizes: Int32s, scratch: Scratch, how: Choice) -> tuple[int, int]:
    """The last bins that may go left, from the first to before the second: all but the feature's last, or one."""
    feature, offset = group.features[node, index], scratch.offsets[index]
    if how.seed == _0:
        return 0, sizes[feature] - 1
    first, last = -1, 0
    for place in range(sizes[feature]):
        rows = np.int64(0)
        for label in range(CLASSES):
            rows += scratch.counts[offset + place, label]
        if rows > 0:
            first, last = (place if first < 0 else first), place
    if first < 0 or first == last:
        return 0, 0
    chosen = _drawn_bin(group, node, feature, (first, last), how)
    return chosen, chosen + 1


@inner
def _choose(group: Group, node: int, sizes: Int32s, scratch: Scratch, splits: Splits, how: Choice) -> None:
    """Find the split that gains most: the first of several, as the features were drawn."""
    left, right, total = scratch.sums[0], scratch.sums[1], group.counts[node]
    rows = np.int64(0)
    for label in range(CLASSES):
        rows += total[label]
    impurity = gini(total, float(rows))
    splits.feature[node], splits.gain[node] = -1, INVALID
    for index in range(group.features.shape[1]):
        feature, offset, left_rows = group.features[node, index], scratch.offsets[index], np.int64(0)
        for label in range(CLASSES):
            left[label] = 0
        begin, end = _candidates(group, node, index, sizes, scratch, how)
        for last_bin in range(end):
            added = np.int64(0)
            for label in range(CLASSES):
                number = scratch.counts[offset + last_bin, label]
                left[label] += number
                added += number
            left_rows += added
            if last_bin < begin or min(left_rows, rows - left_rows) < how.least_rows:
                continue
            if added == 0 and how.seed == _0:
                continue  # as the bin before
            for label in range(CLASSES):
                right[label] = total[label] - left[label]
            right_rows = rows - left_rows
            left_part = (left_rows / float(rows)) * gini(left, float(left_rows))
            right_part = (right_rows / float(rows)) * gini(right, float(right_rows))
            gain = impurity - left_part - right_part
            if gain >= 0.0 and gain > splits.gain[node]:
                splits.feature[node], splits.last_bin[node], splits.gain[node] = feature, last_bin, gain
                for label in range(CLASSES):
                    splits.left_counts[node, label] = left[label]


@inner
def _part(rows: TreeRows, group: Group, node: int, is_flag: bool, scratch: Scratch, splits: Splits) -> None:
    """Put the rows that go left before the others; both keep their order."""
    order, column, last_bin = rows.order[group.tree[node]], rows.columns[splits.feature[node]], splits.last_bin[node]
    word, bit = column >> 6, np.uint64(column & 63)
    left, right = group.begin[node], 0
    for position in range(group.begin[node], group.end[node]):
        row = order[position]
        high = (rows.flags[row, word] >> bit) & _1 != _0 if is_flag else rows.numbers[row, column] > last_bin
        if not high:
            order[left] = row
            left += 1
        else:
            scratch.rows[right] = row
            right += 1
    for position in range(right):
        order[left + position] = scratch.rows[position]
    splits.left_end[node] = left


def split_nodes(rows: TreeRows, group: Group, sizes: Int32s, scratch: Scratch, splits: Splits, how: Choice) -> None:
    """What is compiled: the splits of all nodes of `group` into `splits`, and their rows parted."""
    for node in range(len(group.tree)):
        _count(rows, group, node, sizes, scratch)
        _choose(group, node, sizes, scratch, splits, how)
        if splits.gain[node] > 0.0:
            _part(rows, group, node, sizes[splits.feature[node]] == _FLAG_BINS, scratch, splits)


@cache
def compiled_split() -> Callable[[TreeRows, Group, Int32s, Scratch, Splits, Choice], None]:
    """As split_nodes, compiled."""
    none8, none32, none64 = np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int64)
    halves, words, table8 = np.zeros(0, np.uint32), np.zeros(0, np.uint64), none8.reshape(0, 0)
    rows = TreeRows(table8, words.reshape(0, 0), none32, none8, table8, halves.reshape(0, 0))
    group = Group(none32, none64, none64, none32.reshape(0, 0), none64.reshape(0, CLASSES))
    scratch = Scratch.of(rows, 0, 0)
    splits = Splits(none32, none32, np.zeros(0), none64.reshape(0, CLASSES), none64)
    how = Choice(1, _0, np.zeros(0), none64)
    return ready(split_nodes, rows, group, none32, scratch, splits, how, nogil=True)


def load() -> None:
    """Load the compiled code."""
    compiled_split()
