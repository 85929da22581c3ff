"""The compiled walk through a forest from its file (machine_code.py)."""

from __future__ import annotations

import sys
from typing import Any

from loadcast.models import walk
from loadcast.models.forest import Floats
from loadcast.models.machine_code import Call, Source, address, pointer_to, quick
from loadcast.models.walk import Nodes, Walk, Words

#: What the function is given: see _Quick.
_N_NUMBERS = 16


def quick_walk() -> Walk | None:
    """The walk; None where it cannot be had so."""
    call = quick(Source((walk, sys.modules[__name__]), _entry))
    return _Quick(call) if call else None


def _entry() -> Any:
    """The walk for numba, of one argument; it leads to the numbers that _Quick makes: lengths, and addresses."""
    from numba import types
    from numba.np.numpy_support import carray

    from loadcast.kernels.words import compiled

    walked, block_rows = compiled(walk.walk_trees), walk.BLOCK_ROWS
    numbers_at, words_at, flags_at = map(pointer_to, (types.float64, types.uint32, types.boolean))

    def entry(table: Any) -> None:
        given = carray(table, _N_NUMBERS)
        n, width, n_trees, n_nodes = given[0], given[1], given[2], given[3]
        n_left, classes, depth = given[4], given[5], given[6]
        nodes = Nodes(
            carray(words_at(given[7]), n_trees),
            carray(words_at(given[8]), (n_nodes, 4)),
            carray(numbers_at(given[9]), n_nodes),
            carray(words_at(given[10]), n_nodes),
            carray(flags_at(given[11]), n_left),
            carray(numbers_at(given[12]), (n_nodes, classes)),
        )
        scratch, votes = carray(words_at(given[14]), block_rows), carray(numbers_at(given[15]), (n, classes))
        walked(carray(numbers_at(given[13]), (n, width)), nodes, depth, scratch, votes)

    return entry


class _Quick:
    """The walk as walk.compiled_walk's. All arrays lie in one piece."""

    def __init__(self, call: Call) -> None:
        self._call = call
        #: The nodes of the last call, which are most often those of the next, and where they lie.
        self._known: tuple[Nodes | None, list[int]] = (None, [])

    def __call__(self, matrix: Floats, nodes: Nodes, depth: int, scratch: Words, votes: Floats) -> None:
        known, addresses = self._known
        if known is not nodes:
            addresses = [address(array) for array in nodes]
            self._known = nodes, addresses
        sizes = [*matrix.shape, len(nodes.roots), len(nodes.threshold), len(nodes.goes_left), votes.shape[1], depth]
        self._call([*sizes, *addresses, *(address(array) for array in (matrix, scratch, votes))])
