"""The order in which Spark goes through a group's trees: that of Scala 2.13's maps, which decides what is split next.

Sources: scala.collection.mutable.HashMap, scala.collection.immutable.Map and HashMap.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Up to so many entries an immutable map keeps them as they came, of a mutable one with this many buckets.
_SMALL, _BUCKETS = 4, 16
_32_BITS, _LEVEL_BITS = (1 << 32) - 1, 5


def tree_order(trees: Iterable[int]) -> list[int]:
    """The trees of a group in the order in which their children are queued."""
    distinct = sorted(set(trees))
    if len(distinct) <= _SMALL:
        return sorted(distinct, key=lambda tree: (tree % _BUCKETS, tree))
    return _in_trie([(_spread(tree), tree) for tree in distinct], 0)


def _spread(tree: int) -> int:
    """The hash of an immutable map's key."""
    mixed = (tree + (~(tree << 9) & _32_BITS)) & _32_BITS
    mixed ^= mixed >> 14
    mixed = (mixed + (mixed << 4)) & _32_BITS
    return mixed ^ (mixed >> 10)


def _in_trie(entries: list[tuple[int, int]], shift: int) -> list[int]:
    """Entries of a node of the trie: first those alone at their branch, then the branches; both in the hash's order."""
    branches: dict[int, list[tuple[int, int]]] = {}
    for entry in entries:
        branches.setdefault((entry[0] >> shift) & ((1 << _LEVEL_BITS) - 1), []).append(entry)
    ordered = [branches[key] for key in sorted(branches)]
    alone = [branch[0][1] for branch in ordered if len(branch) == 1]
    deeper = [tree for branch in ordered if len(branch) > 1 for tree in _in_trie(branch, shift + _LEVEL_BITS)]
    return alone + deeper
