"""The compiled walk through boosted trees from its file (machine_code.py)."""

from __future__ import annotations

import sys
from typing import Any

from loadcast.models import boosted_walk, walk
from loadcast.models.boosted import Singles
from loadcast.models.boosted_walk import Nodes, Walk, Words
from loadcast.models.machine_code import Call, Source, address, pointer_to, quick

#: What the function is given: see _Quick.
_N_NUMBERS = 13


def quick_walk() -> Walk | None:
    """The walk; None where it cannot be had so."""
    call = quick(Source((boosted_walk, sys.modules[__name__]), _entry))
    return _Quick(call) if call else None


def _entry() -> Any:
    """The walk for numba, of one argument; it leads to the numbers that _Quick makes: lengths, and addresses."""
    from numba import types
    from numba.np.numpy_support import carray

    from loadcast.kernels.words import compiled

    walked, block_rows = compiled(boosted_walk.walk_boosted), walk.BLOCK_ROWS
    singles_at, words_at = pointer_to(types.float32), pointer_to(types.uint32)

    def entry(table: Any) -> None:
        given = carray(table, _N_NUMBERS)
        n, width, n_trees, n_nodes, classes, depth = given[0], given[1], given[2], given[3], given[4], given[5]
        nodes = Nodes(
            carray(words_at(given[6]), n_trees),
            carray(words_at(given[7]), n_trees),
            carray(words_at(given[8]), (n_nodes, 4)),
            carray(singles_at(given[9]), n_nodes),
        )
        scratch, margins = carray(words_at(given[11]), block_rows), carray(singles_at(given[12]), (n, classes))
        walked(carray(singles_at(given[10]), (n, width)), nodes, depth, scratch, margins)

    return entry


class _Quick:
    """The walk as boosted_walk.compiled_walk's. All arrays lie in one piece."""

    def __init__(self, call: Call) -> None:
        self._call = call
        #: The nodes of the last call, which are most often those of the next, and where they lie.
        self._known: tuple[Nodes | None, list[int]] = (None, [])

    def __call__(self, matrix: Singles, nodes: Nodes, depth: int, scratch: Words, margins: Singles) -> None:
        known, addresses = self._known
        if known is not nodes:
            addresses = [address(array) for array in nodes]
            self._known = nodes, addresses
        sizes = [*matrix.shape, len(nodes.roots), len(nodes.value), margins.shape[1], depth]
        self._call([*sizes, *addresses, *(address(array) for array in (matrix, scratch, margins))])
