"""What our forest draws, counts and splits: held against Java's numbers, and against slow code written another way.

That whole forests are Spark's, tests/spark/test_forest_here.py says.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import refits
from loadcast import schema
from loadcast.errors import ConfigError, InputError
from loadcast.kernels.forest import threads
from loadcast.kernels.forest.bins import BinnedRows
from loadcast.kernels.forest.bootstrap import compiled_draw
from loadcast.kernels.forest.fit import Piece, TrainingRows
from loadcast.kernels.forest.grow import Grown, Growth, grow
from loadcast.kernels.forest.queue import compiled_select
from loadcast.kernels.forest.random_numbers import java_state, well_state
from loadcast.kernels.forest.saved_nodes import saved_nodes
from loadcast.kernels.forest.split import CLASSES, INVALID
from loadcast.kernels.forest.thresholds import Bins, find_bins, sampled_rows, sampled_share
from loadcast.models.forest_growth import grown_nodes
from loadcast.models.forest_subset import features_drawn
from loadcast.models.registry import family_named, fit_rows_of


@pytest.mark.parametrize(
    ("seed", "wanted"),
    [
        (0, [2, 2, 1, 0, 0, 4, 1, 0, 0, 1, 0, 1]),
        (42, [0, 2, 3, 2, 1, 3, 1, 2, 1, 3, 0, 1]),
        (-7, [0, 2, 0, 1, 0, 1, 1, 1, 1, 0, 1, 3]),
        (2**63 - 1, [0, 1, 1, 2, 0, 1, 0, 0, 0, 2, 0, 2]),
    ],
)
def test_weights_are_those_of_commons_math(seed: int, wanted: list[int]) -> None:
    """PoissonDistribution(1.0) after reseedRandomGenerator(seed)."""
    weights = np.zeros((12, 1), np.uint8)
    compiled_draw()(well_state(seed), weights, 0, 1)
    assert weights[:, 0].tolist() == wanted


def test_weights_have_a_mean_and_variance_of_one() -> None:
    weights = np.zeros((50, 2_000), np.uint8)
    compiled_draw()(well_state(1), weights, 0, 2_000)
    assert (weights.mean(), weights.var()) == pytest.approx((1, 1), abs=0.02)


def test_the_numbers_of_java_choose_the_features() -> None:
    """nextLong of java.util.Random(42) seeds XORShiftRandom; both written anew here, on Python's whole numbers."""
    sizes, features = np.full(40, 2, np.int32), np.zeros((3, 7), np.int32)
    assert compiled_select()(np.arange(2, dtype=np.int64), java_state(42), sizes, 1 << 30, features) == 2
    seeds = [-5025562857975149833, -5843495416241995736]  # the first that Java gives
    assert features[:2].tolist() == [_reservoir(seed, 7, 40) for seed in seeds]


def _reservoir(seed: int, drawn: int, of: int) -> list[int]:
    numbers, kept = _shift_doubles(seed), list(range(drawn))
    for item in range(drawn, of):
        replaced = int(next(numbers) * (item + 1))
        if replaced < drawn:
            kept[replaced] = item
    return kept


def _shift_doubles(seed: int) -> Any:
    data = (seed % 2**64).to_bytes(8, "big")
    low = _murmur(data, 0x3C074A61)
    state = _murmur(data, low) << 32 | low
    while True:
        parts = []
        for bits in (26, 27):
            state ^= state << 21 & (1 << 64) - 1
            state ^= state >> 35
            state ^= state << 4 & (1 << 64) - 1
            parts.append(state % 2**bits)
        yield (parts[0] * 2**27 + parts[1]) / 2**53


def _murmur(data: bytes, seed: int) -> int:
    def turned(value: int, bits: int) -> int:
        return (value << bits | value >> 32 - bits) % 2**32

    for place in range(0, len(data), 4):
        mixed = turned(int.from_bytes(data[place : place + 4], "little") * 0xCC9E2D51 % 2**32, 15)
        seed = (turned(seed ^ mixed * 0x1B873593 % 2**32, 13) * 5 + 0xE6546B64) % 2**32
    seed ^= len(data)
    for bits, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        seed = (seed ^ seed >> bits) * factor % 2**32
    return seed ^ seed >> 16


def test_a_node_without_room_is_drawn_for_again() -> None:
    sizes, waiting = np.full(9, 4, np.int32), np.arange(3, dtype=np.int64)
    state, once = java_state(5), np.zeros((3, 2), np.int32)
    room = 2 * 2 * 4 * 32  # for two nodes of two features
    assert compiled_select()(waiting, state, sizes, room, once) == 2
    again, other = np.zeros((3, 2), np.int32), java_state(5)
    assert compiled_select()(waiting, other, sizes, 1 << 30, again) == 3
    assert once[:2].tolist() == again[:2].tolist()
    assert state[0] == other[0]  # the third was drawn for, too


@pytest.mark.parametrize("rows", [9_999, 11_000, 60_000])
def test_about_ten_thousand_rows_say_where_thresholds_lie(rows: int) -> None:
    chosen = sampled_rows(sampled_share(rows, 32), np.array([rows // 3, 0, rows - rows // 3]), seed=-1)
    assert len(chosen) == pytest.approx(min(rows, 10_000), rel=0.03)
    assert (np.diff(chosen) > 0).all()
    assert chosen[-1] < rows


def test_few_values_are_told_apart_in_their_middle_and_many_in_equal_shares() -> None:
    samples = np.column_stack([np.arange(400) % 3, np.zeros(400), np.full(400, 7.0), np.arange(400) + 1.0])
    bins = find_bins(samples, 400, max_bins=5)
    assert bins.thresholds.tolist() == [0.5, 1.5, 80.5, 160.5, 240.5, 320.5]
    assert bins.sizes.tolist() == [3, 1, 1, 5]


@given(st.lists(st.floats(-3, 3), max_size=6, unique=True), st.lists(st.floats(-4, 4), min_size=1, max_size=9))
def test_a_bin_is_how_many_thresholds_lie_below(thresholds: list[float], values: list[float]) -> None:
    ordered = sorted(thresholds)
    bins = Bins(np.array([*ordered, 0.5]), np.array([0, len(ordered), len(ordered) + 1], np.int64))
    rows = BinnedRows.empty(len(values), bins)
    rows.fill(0, np.column_stack([values, np.arange(len(values)) % 2]), bins)
    flag = int(rows.columns[1])
    assert ((rows.flags[:, flag // 64] >> np.uint64(flag % 64)) & np.uint64(1)).tolist() == [
        number % 2 for number in range(len(values))
    ]
    wanted = [sum(threshold < value for threshold in ordered) for value in values]
    if len(ordered) == 1:
        assert ((rows.flags[:, 0] >> np.uint64(rows.columns[0])) & np.uint64(1)).tolist() == wanted
    elif ordered:
        assert rows.numbers[:, rows.columns[0]].tolist() == wanted


@pytest.mark.parametrize("least_rows", [1, 60])
def test_each_split_is_the_first_of_the_best(least_rows: int) -> None:
    """All splits of all nodes, tried by code that looks at every row, feature and bin anew."""
    random = np.random.default_rng(3)
    sizes = np.array([2, 5, 1, 2, 9, 3] * 12, np.int32)
    values = random.integers(0, sizes, size=(600, len(sizes)))
    labels = (1 + (values[:, 1] > 2) + (random.random(600) < 0.3)).astype(np.uint8)
    bins = Bins(np.concatenate([np.arange(size - 1) + 0.5 for size in sizes]), np.cumsum([0, *(sizes - 1)]))
    binned = BinnedRows.empty(600, bins)
    binned.fill(0, values.astype(np.float64), bins)
    how = Growth(1, 4, 9, len(sizes), 1 << 30, threads=2, least_rows=least_rows)
    grown = grow(binned, bins, labels, [600], how)
    weights = np.zeros((1, 600), np.uint8)
    compiled_draw()(well_state(10), weights, 0, 600)
    inside = {0: weights[0] > 0}
    for node in range(grown.size):
        assert (
            np.bincount(labels[inside[node]], weights[0][inside[node]], CLASSES).tolist() == grown.counts[node].tolist()
        )
        if not grown.left[node]:
            continue
        gain, feature, last_bin = _best_split(values, labels, weights[0] * inside[node], sizes, least_rows)
        assert (grown.feature[node], grown.last_bin[node], grown.gain[node]) == (feature, last_bin, gain)
        goes_left = values[:, feature] <= last_bin
        inside[grown.left[node]], inside[grown.left[node] + 1] = inside[node] & goes_left, inside[node] & ~goes_left
    assert grown.size > (15 if least_rows == 1 else 6)


def _best_split(values: Any, labels: Any, weights: Any, sizes: Any, least: int) -> tuple[float, int, int]:
    total, best = np.bincount(labels, weights, CLASSES), (-1.0, -1, -1)
    for feature, size in enumerate(sizes):
        for last_bin in range(size - 1):
            left = np.bincount(labels, weights * (values[:, feature] <= last_bin), CLASSES)
            if min(left.sum(), total.sum() - left.sum()) < least:
                continue
            parts = [part.sum() / total.sum() * _gini(part) for part in (left, total - left)]
            gain = _gini(total) - parts[0] - parts[1]
            if gain > best[0]:
                best = gain, feature, last_bin
    return best


def _gini(counts: Any) -> float:
    impurity = 1.0
    for count in counts.tolist():
        impurity -= (count / counts.sum()) * (count / counts.sum())
    return impurity


def _at_random(seed: int, threads: int = 1, least: int = 1, drawn: int = 3) -> tuple[Any, Any, Bins]:
    """Trees split at random, on rows whose thresholds lie far apart at the end; and the rows' values."""
    random = np.random.default_rng(4)
    thresholds = np.array([0.0, 1.0, 2.0, 12.0])
    values = np.column_stack([random.integers(0, 5, (4_000, 2)), random.integers(0, 2, 4_000)])
    bins = Bins(np.concatenate([thresholds, thresholds, [0.5]]), np.array([0, 4, 8, 9], np.int64))
    binned = BinnedRows.empty(len(values), bins)
    edges = np.array([-0.5, 0.5, 1.5, 7.0, 20.0])
    binned.fill(0, np.column_stack([edges[values[:, :2]], values[:, 2]]).astype(np.float64), bins)
    labels = (1 + (values[:, 0] > 2) + (random.random(len(values)) < 0.4)).astype(np.uint8)
    how = Growth(200, 3, seed, drawn, 1 << 30, threads, least, random_splits=True)
    return grow(binned, bins, labels, [len(values)], how), values, bins


def test_thresholds_at_random_are_drawn_evenly_over_the_numbers() -> None:
    grown, _, _ = _at_random(seed=1, drawn=1)
    roots = [(int(grown.feature[tree]), int(grown.last_bin[tree])) for tree in range(200) if grown.left[tree]]
    found = np.bincount([bin_ for feature, bin_ in roots if feature < 2], minlength=4)
    # From 0 to 12, and 4 beyond: at 0, at 1, at 2 until 12, at 12.
    assert found.sum() > 80
    assert found / found.sum() == pytest.approx(np.array([1, 1, 10, 4]) / 16, abs=0.12)


def test_splits_at_random_are_those_of_the_seed_whatever_the_threads() -> None:
    one, other, apart = (_at_random(seed, threads)[0] for seed, threads in ((7, 1), (7, 3), (8, 1)))
    for name in ("tree", "level", "left", "feature", "last_bin", "gain", "counts"):
        assert np.array_equal(getattr(one, name)[: one.size], getattr(other, name)[: other.size])
    assert one.size != apart.size or not np.array_equal(one.last_bin[: one.size], apart.last_bin[: apart.size])


def test_splits_at_random_part_rows_of_both_sides_and_gain() -> None:
    grown, _, bins = _at_random(seed=3, least=150)
    parted = np.flatnonzero(grown.left[: grown.size] > 0)
    assert len(parted) > 200
    assert (grown.gain[parted] > 0).all()
    assert (grown.counts[1 + grown.left[parted]].sum(axis=1) >= 150).all()
    assert (grown.counts[grown.left[parted]].sum(axis=1) >= 150).all()
    both = grown.counts[grown.left[parted]] + grown.counts[grown.left[parted] + 1]
    assert np.array_equal(both, grown.counts[parted])
    assert (grown.last_bin[parted] < bins.sizes[grown.feature[parted]] - 1).all()


def test_a_node_over_two_leaves_of_one_class_is_saved_as_a_leaf() -> None:
    grown = Grown(1)
    grown.counts[0] = [0, 9, 3, 0]
    grown.feature[0], grown.gain[0] = 1, 0.25
    grown.add(4)
    grown.left[0], grown.left[2] = 1, 3
    grown.level[:5], grown.tree[:5] = [0, 1, 1, 2, 2], 0
    grown.counts[:5] = [[0, 9, 3, 0], [0, 2, 3, 0], [0, 7, 0, 0], [0, 4, 0, 0], [0, 3, 0, 0]]
    grown.gain[1] = INVALID
    nodes = saved_nodes(grown, Bins(np.array([0.5, 1.5]), np.array([0, 1, 2], np.int64))).to_pylist()
    told = [node["nodeData"] for node in nodes]
    assert [(node["id"], node["leftChild"], node["rightChild"]) for node in told] == [
        (0, 1, 2),
        (1, -1, -1),
        (2, -1, -1),
    ]
    assert told[0]["split"] == {"featureIndex": 1, "leftCategoriesOrThreshold": [1.5], "numCategories": -1}
    assert told[1]["impurity"] == -1.0
    assert (told[2]["impurityStats"], told[2]["gain"], told[2]["split"]["featureIndex"]) == ([0, 7, 0, 0], -1.0, -1)


@pytest.mark.parametrize(
    ("strategy", "number", "drawn"),
    [
        *[("auto", 7, 3), ("auto", 300, 36), ("all", 7, 7), ("sqrt", 10, 4), ("log2", 1, 1), ("log2", 9, 4)],
        *[("onethird", 10, 4), ("12", 7, 7), ("3", 7, 3), ("0.5", 7, 4), (".01", 7, 1)],
    ],
)
def test_strategies_draw_as_many_as_spark(strategy: str, number: int, drawn: int) -> None:
    assert features_drawn(strategy, number) == drawn


def _sample(rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(1)
    matrix = np.where(random.random((rows, 5)) < 0.2, schema.MISSING, random.normal(size=(rows, 5))).astype(np.float32)
    return matrix, 1 + (matrix[:, 0] > 0).astype(np.int64) + (matrix[:, 1] == schema.MISSING)


def test_a_backtest_s_forest_is_that_of_one_partition() -> None:
    matrix, labels = _sample(900)
    settings = refits.make_settings(model="forest", forest={"numTrees": 20, "maxDepth": 6})
    model = fit_rows_of(family_named("forest"))(matrix, labels, settings)
    answers = model.predict(matrix.astype(np.float64))
    assert (answers.labels == labels).mean() > 0.95
    assert answers.probabilities.sum(axis=1) == pytest.approx(1)


def test_more_bins_than_a_byte_tells_apart_are_refused() -> None:
    """They would run into each other, and the forest be another one."""
    matrix, labels = _sample(900)
    settings = refits.make_settings(model="forest", forest={"numTrees": 1, "maxBins": 257})
    with pytest.raises(ConfigError, match=r"forest\.maxBins: found 257, wanted at most 256 for backtests"):
        fit_rows_of(family_named("forest"))(matrix, labels, settings)


def test_a_backtest_s_forest_takes_no_thread_beside_its_task_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tasks run side by side as there are cores."""

    def refused(*_: object) -> None:
        raise AssertionError("threads are asked for")

    monkeypatch.setattr(threads, "ThreadPoolExecutor", refused)
    matrix, labels = _sample(300)
    before = threading.active_count()
    for random_splits in (False, True):
        settings = refits.make_settings(model="forest", forest={"numTrees": 3, "randomSplits": random_splits})
        fit_rows_of(family_named("forest"))(matrix, labels, settings)
    assert threading.active_count() == before


def test_a_forest_of_one_leaf_knows_one_answer() -> None:
    matrix, _ = _sample(300)
    settings = refits.make_settings(model="forest", forest={"numTrees": 1})
    model = fit_rows_of(family_named("forest"))(matrix, np.full(300, 2), settings)
    assert model.predict(matrix[:3].astype(np.float64)).probabilities.tolist() == [[0.0, 1.0, 0.0]] * 3


def test_too_few_rows_for_a_forest_are_said_to_be_that() -> None:
    matrix, labels = _sample(2)
    with pytest.raises(InputError, match="Found 2 training rows, of which a tree of the forest has drawn none"):
        fit_rows_of(family_named("forest"))(matrix, labels, refits.make_settings(model="forest"))


def test_threads_and_pieces_do_not_show() -> None:
    matrix, labels = _sample(900)
    settings = refits.make_settings(model="forest", forest={"numTrees": 6, "maxDepth": 8}).forest

    def piece(part: NDArray[np.float32]) -> Piece:
        def blocks(indices: Any) -> Any:
            rows = (part if indices is None else part[indices]).astype(np.float64)
            return [rows[:7], rows[7:]]

        return Piece(len(part), blocks)

    def grown(cuts: list[int], threads: int) -> Any:
        pieces = [piece(part) for part in np.split(matrix, cuts)]
        return grown_nodes(TrainingRows(pieces, labels.astype(np.uint8), [400, 500], 5), settings, threads)

    assert grown([], 1).equals(grown([3, 200, 400, 400], 3))
