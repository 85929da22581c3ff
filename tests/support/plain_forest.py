"""One row down one tree after the other, in plain Python: the oracle of forests, as Spark's own code does it."""

from __future__ import annotations

from typing import Any

from bundles import N_CLASSES

Tree = list[dict[str, Any]]


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
