"""The forest kernel against a plain walk of one row through one tree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import random_tree
from loadcast.errors import ArtefactError
from loadcast.models import forest as kernel
from loadcast.models import walk as compiled
from loadcast.models.forest import Forest, build_forest, classes, probabilities, votes
from plain_forest import FEATURES, Tree, node_table, oracle, random_rows


def predict(forest: Forest, matrix: np.ndarray) -> np.ndarray:
    return probabilities(votes(forest, matrix))


def compiled_votes(forest: Forest, matrix: np.ndarray) -> np.ndarray:
    return compiled.compiled_votes(forest, compiled.compact_nodes(forest), matrix)


@pytest.mark.parametrize(("seed", "n_trees", "n_rows"), [(1, 1, 1), (2, 1, 300), (3, 33, 1), (4, 20, 700), (5, 3, 0)])
def test_votes_equal_the_plain_walk_bit_for_bit(seed: int, n_trees: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, 7, FEATURES) for _ in range(n_trees)]
    rows = random_rows(rng, trees, n_rows)
    forest = build_forest(node_table(trees), len(FEATURES))
    raw = votes(forest, rows)
    expected = [oracle(trees, row) for row in rows.tolist()]
    assert classes(raw).tolist() == [label for label, _ in expected]
    assert predict(forest, rows).tolist() == [shares for _, shares in expected]


@given(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.sampled_from([0, 1, 2, 47, 63, 64, 65, 130]),
    st.integers(0, 9),
    st.booleans(),
)
def test_the_compiled_walk_gives_the_same_bits(seed: int, n_trees: int, n_rows: int, depth: int, numbers: bool) -> None:
    rng = np.random.default_rng(seed)
    kinds = [-1] * len(FEATURES) if numbers else FEATURES
    trees = [random_tree(rng, depth, kinds) for _ in range(n_trees)]
    rows = random_rows(rng, trees, n_rows)
    forest = build_forest(node_table(trees), len(FEATURES))
    assert np.array_equal(compiled_votes(forest, rows).view(np.int64), votes(forest, rows).view(np.int64))


def test_the_compiled_walk_takes_strided_and_integer_matrices() -> None:
    rng = np.random.default_rng(9)
    trees = [random_tree(rng, 5, FEATURES) for _ in range(3)]
    forest = build_forest(node_table(trees), len(FEATURES))
    rows = rng.integers(0, 3, (70, len(FEATURES)))
    expected = votes(forest, rows.astype(np.float64))
    for same in (rows, np.asfortranarray(rows.astype(np.float64)), np.repeat(rows, 2, axis=0)[::2]):
        assert np.array_equal(compiled_votes(forest, same), expected)


def test_the_compiled_walk_lets_threads_walk_side_by_side() -> None:
    rng = np.random.default_rng(10)
    trees = [random_tree(rng, 6, FEATURES) for _ in range(20)]
    forest = build_forest(node_table(trees), len(FEATURES))
    parts = [random_rows(rng, trees, 300) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda rows: compiled_votes(forest, rows), parts))
    assert all(np.array_equal(actual, votes(forest, rows)) for actual, rows in zip(answers, parts, strict=True))


def test_chunks_do_not_show_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    trees = [random_tree(rng, 6, FEATURES) for _ in range(7)]
    rows = random_rows(rng, trees, 50)
    forest = build_forest(node_table(trees), len(FEATURES))
    whole = votes(forest, rows)
    monkeypatch.setattr(kernel, "_CHUNK_CELLS", 20)
    assert np.array_equal(votes(forest, rows), whole)


def test_nodes_may_come_in_any_order() -> None:
    rng = np.random.default_rng(7)
    trees = [random_tree(rng, 6, FEATURES) for _ in range(4)]
    rows = random_rows(rng, trees, 40)
    mixed = [tree[::-1] for tree in trees]
    expected = votes(build_forest(node_table(trees), len(FEATURES)), rows)
    assert np.array_equal(votes(build_forest(node_table(mixed), len(FEATURES)), rows), expected)


def test_the_first_of_equal_classes_wins() -> None:
    assert classes(np.array([[0.0, 2.0, 2.0, 1.0], [0.0, 1.0, 2.0, 2.0]])).tolist() == [1, 2]


def test_a_row_as_strided_or_integer_matrix_is_read_right() -> None:
    rng = np.random.default_rng(8)
    trees = [random_tree(rng, 5, FEATURES) for _ in range(3)]
    forest = build_forest(node_table(trees), len(FEATURES))
    rows = rng.integers(0, 3, (30, len(FEATURES)))
    expected = predict(forest, rows.astype(np.float64))
    assert np.array_equal(predict(forest, np.asfortranarray(rows.astype(np.float64))), expected)
    assert np.array_equal(predict(forest, rows), expected)


def test_probabilities_sum_to_one() -> None:
    shares = probabilities(np.array([[0.0, 1.5, 0.25, 0.25], [0.0, 0.0, 0.0, 3.0]]))
    assert shares.tolist() == [[0.0, 0.75, 0.125, 0.125], [0.0, 0.0, 0.0, 1.0]]


def test_a_matrix_of_another_width_is_refused() -> None:
    forest = build_forest(node_table([stump()]), 2)
    for answer in (votes, compiled_votes):
        with pytest.raises(ValueError, match=r"wanted \(rows, 2\)"):
            answer(forest, np.zeros((3, 5)))


def stump() -> Tree:
    def node(number: int, left: int = -1, right: int = -1, split: dict[str, Any] | None = None) -> dict[str, Any]:
        nothing = {"featureIndex": -1, "leftCategoriesOrThreshold": [], "numCategories": -1}
        counts = [0.0, 1.0, 2.0, 3.0]
        return {
            "id": number,
            "leftChild": left,
            "rightChild": right,
            "impurityStats": counts,
            "split": split or nothing,
        }

    return [
        node(0, 1, 2, {"featureIndex": 0, "leftCategoriesOrThreshold": [0.5], "numCategories": -1}),
        node(1),
        node(2),
    ]


def chain(length: int) -> Tree:
    """A tree whose right child always splits again."""
    nodes = []
    for level in range(length):
        part = stump()
        part[0].update(id=2 * level, leftChild=2 * level + 1, rightChild=2 * level + 2)
        part[1].update(id=2 * level + 1)
        nodes += part[:2]
    return [*nodes, {**stump()[2], "id": 2 * length}]


def test_a_single_leaf_is_a_tree() -> None:
    forest = build_forest(node_table([[{**stump()[1], "id": 0}]]), 2)
    assert predict(forest, np.zeros((2, 2)))[:, 3].tolist() == [0.5, 0.5]


def test_the_deepest_tree_that_spark_grows_is_taken() -> None:
    assert build_forest(node_table([chain(30)]), 2).depth == 30


@pytest.mark.parametrize(
    ("node", "change", "reason"),
    [
        (0, {"leftChild": 0}, "child that its tree does not have"),
        (0, {"leftChild": 3}, "child that its tree does not have"),
        (0, {"rightChild": -7}, "child that its tree does not have"),
        (0, {"leftChild": -1}, "child that its tree does not have"),
        (0, {"leftChild": 2}, "two parents or none"),
        (1, {"leftChild": 1, "rightChild": 2, "split": stump()[0]["split"]}, "own descendant"),
        (1, {"id": 5}, "node numbers"),
        (2, {"id": 1}, "node numbers"),
        (0, {"split": {"featureIndex": 2, "leftCategoriesOrThreshold": [0.5], "numCategories": -1}}, "feature outside"),
        (
            0,
            {"split": {"featureIndex": -1, "leftCategoriesOrThreshold": [0.5], "numCategories": -1}},
            "feature outside",
        ),
        (0, {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [], "numCategories": -1}}, "one threshold"),
        (0, {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [1.0, 2.0], "numCategories": -1}}, "one thresh"),
        (0, {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [np.nan], "numCategories": -1}}, "not a number"),
        (0, {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [2.0], "numCategories": 2}}, "names a category"),
        (0, {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [0.5], "numCategories": 2}}, "names a category"),
        (
            0,
            {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [0.0], "numCategories": 0}},
            "impossible number",
        ),
        (0, {"split": {"featureIndex": 0, "leftCategoriesOrThreshold": [0.0], "numCategories": 1 << 30}}, "impossible"),
        (1, {"impurityStats": [0.0, 0.0, 0.0, 0.0]}, "class counts"),
        (1, {"impurityStats": [0.0, -1.0, 2.0, 0.0]}, "class counts"),
        (1, {"impurityStats": [0.0, np.inf, 2.0, 0.0]}, "class counts"),
        (1, {"impurityStats": [0.0, np.nan, 2.0, 0.0]}, "class counts"),
    ],
)
def test_a_malformed_tree_is_refused(node: int, change: dict[str, Any], reason: str) -> None:
    tree = stump()
    tree[node] = {**tree[node], **change}
    with pytest.raises(ArtefactError, match=reason):
        build_forest(node_table([tree]), 2)


def test_a_tree_deeper_than_spark_grows_is_refused() -> None:
    with pytest.raises(ArtefactError, match="deeper than 30"):
        build_forest(node_table([chain(31)]), 2)


def test_a_forest_without_nodes_is_refused() -> None:
    with pytest.raises(ArtefactError, match="no nodes"):
        build_forest(node_table([]), 2)


def test_a_missing_tree_is_refused() -> None:
    with pytest.raises(ArtefactError, match="tree numbers"):
        build_forest(node_table([stump(), [], stump()]), 2)


@given(st.lists(st.tuples(*[st.integers(-2, 4)] * 4), min_size=1, max_size=6))
def test_any_links_either_make_a_tree_that_ends_or_are_refused(links: list[tuple[int, int, int, int]]) -> None:
    split = {"featureIndex": 0, "leftCategoriesOrThreshold": [0.5], "numCategories": -1}
    base = stump()[1]
    tree = [
        {**base, "id": node, "leftChild": left, "rightChild": right, "split": split} for node, left, right, _ in links
    ]
    try:
        forest = build_forest(node_table([tree]), 1)
    except ArtefactError:
        return
    assert np.array_equal(predict(forest, np.zeros((1, 1))), [[0.0, 1 / 6, 2 / 6, 3 / 6]])
