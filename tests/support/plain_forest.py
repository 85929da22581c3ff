"""One row down one tree after the other, in plain Python: the oracle of forests, as Spark's own code does it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bundles import N_CLASSES
from loadcast.models.forest import NodeTable

Tree = list[dict[str, Any]]

#: Of forests of the tests: the number of a feature's categories; -1 stands for a number.
FEATURES = [-1, 2, -1, 7, 3, -1]


def walk(tree: Tree, row: list[float]) -> list[float]:
    """Oracle: one row down one tree as Spark's Node.predictImpl does; answers the leaf's counts."""
    node = tree[0]
    while node["leftChild"] != -1:
        split = node["split"]
        value, values = row[split["featureIndex"]], split["leftCategoriesOrThreshold"]
        size = split["numCategories"]
        if size == -1:
            left = value <= values[0]
        elif len(values) <= size // 2:
            left = value in set(values)
        else:
            left = value not in set(map(float, range(size))) - set(values)
        node = tree[node["leftChild"] if left else node["rightChild"]]
    return list(node["impurityStats"])


def oracle(trees: list[Tree], row: list[float]) -> tuple[int, list[float]]:
    sums = [0.0] * N_CLASSES
    for tree in trees:
        counts = walk(tree, row)
        total = 0.0
        for count in counts:
            total += count
        sums = [share + count / total for share, count in zip(sums, counts, strict=True)]
    total = 0.0
    for share in sums:
        total += share
    return sums.index(max(sums)), [share / total for share in sums]


def node_table(trees: list[Tree], n_classes: int = N_CLASSES) -> NodeTable:
    nodes = [(number, node) for number, tree in enumerate(trees) for node in tree]
    lists = [node["split"]["leftCategoriesOrThreshold"] for _, node in nodes]
    return NodeTable(
        tree=np.array([number for number, _ in nodes], dtype=np.intp),
        node=np.array([node["id"] for _, node in nodes], dtype=np.intp),
        left=np.array([node["leftChild"] for _, node in nodes], dtype=np.intp),
        right=np.array([node["rightChild"] for _, node in nodes], dtype=np.intp),
        feature=np.array([node["split"]["featureIndex"] for _, node in nodes], dtype=np.intp),
        categories=np.array([node["split"]["numCategories"] for _, node in nodes], dtype=np.intp),
        split_offsets=np.cumsum([0, *map(len, lists)]),
        split_values=np.array([value for values in lists for value in values], dtype=np.float64),
        counts=np.array([node["impurityStats"] for _, node in nodes], dtype=np.float64).reshape(-1, n_classes),
    )


def random_rows(rng: np.random.Generator, trees: list[Tree], n: int) -> np.ndarray:
    """Rows that hit categories, thresholds exactly, and values that no category has."""
    columns = []
    for feature, size in enumerate(FEATURES):
        splits = [node["split"] for tree in trees for node in tree if node["split"]["featureIndex"] == feature]
        if size == -1:
            exact = [split["leftCategoriesOrThreshold"][0] for split in splits] or [0.0]
            choice = np.concatenate([rng.normal(size=n), rng.choice(exact, n), [np.inf, -np.inf, np.nan, 1e308]])
        else:
            choice = np.concatenate([rng.integers(0, size, 4 * n), [-1.0, 0.5, size, size + 3.0, np.nan, np.inf, -0.0]])
        columns.append(rng.choice(choice, n))
    return np.column_stack(columns)
