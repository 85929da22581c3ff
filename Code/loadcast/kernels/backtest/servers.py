"""Each server's accuracy beside a naive forecast of its own: the best in hindsight, and the one chosen beforehand.

The best of many naive forecasts on the very rows that are scored is a bar that nobody could have met: over a week or
two, which of them is the best on a server is mostly chance. What somebody could have done instead of training a model
is to take, for each server, the naive forecast that has been the best so far.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.backtest.bootstrap import accuracy
from loadcast.kernels.backtest.tally import ANSWERS, FoldTally
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.tally import Counts

#: How far below a naive forecast a server is said to be clearly below it.
CLEARLY_BELOW = 0.02


def best_naive(values: NDArray[Any]) -> NDArray[np.intp]:
    """Which of the naive forecasts is the best, (answers, …) → (…): the first of equals, as a place in ANSWERS."""
    best: NDArray[np.intp] = 1 + np.argmax(values[1:], axis=0)
    return best


def servers_beside_naive(tallies: Sequence[FoldTally]) -> dict[str, Any]:
    """backtest.json's `servers`: each against its own best naive forecast in hindsight, by accuracy, the worst first.

    The tallies come in the order of time.
    """
    together = functools.reduce(FoldTally.plus, tallies)
    right = accuracy(together.by_server)
    best = best_naive(right)
    naive = right[best, np.arange(len(best))]
    lifts = right[0] - naive
    rows = together.by_server[0].sum(axis=(1, 2))
    order = sorted(range(len(lifts)), key=lambda at: (lifts[at], together.servers[at]))
    listed = [
        {
            "server": together.servers[at],
            "rows": int(rows[at]),
            "accuracy": float(right[0, at]),
            "bestNaive": ANSWERS[best[at]],
            "naiveAccuracy": float(naive[at]),
            "lift": float(lifts[at]),
        }
        for at in order
    ]
    return {**_how_many(lifts), "listed": listed, "chosenBefore": chosen_before(tallies)}


def chosen_before(tallies: Sequence[FoldTally]) -> dict[str, Any] | None:
    """Each server against the naive forecast that was its best on all earlier folds, from the second fold on.

    A server that had no rows before takes what was the best for all servers. None where there is one fold only.
    """
    if len(tallies) < 2:
        return None
    servers = functools.reduce(FoldTally.plus, tallies[1:]).servers
    at = {name: number for number, name in enumerate(servers)}
    counted: Counts = np.zeros((2, len(servers), 3, 3), dtype=np.int64)
    earlier = tallies[0]
    for tally in tallies[1:]:
        own, chosen = [at[name] for name in tally.servers], _best_before(earlier, tally.servers)
        counted[0, own] += tally.by_server[0]
        counted[1, own] += tally.by_server[chosen, np.arange(len(own))]
        earlier = earlier.plus(tally)
    model, naive = accuracy(counted)
    return {"folds": len(tallies) - 1, **_how_many(model - naive)}


def _best_before(earlier: FoldTally, servers: Sequence[str]) -> NDArray[np.intp]:
    """Which naive forecast has been the best of each server, as places in ANSWERS, (servers,)."""
    of_all = int(best_naive(accuracy(earlier.confusion)))
    known = dict(zip(earlier.servers, best_naive(accuracy(earlier.by_server)), strict=True))
    return np.array([known.get(server, of_all) for server in servers], dtype=np.intp)


def _how_many(lifts: Float64s) -> dict[str, Any]:
    """How many servers lie below their naive forecasts, and by how much; lifts (servers,)."""
    below, clearly = lifts < 0, lifts < -CLEARLY_BELOW
    return {
        "number": len(lifts),
        "below": int(below.sum()),
        "clearlyBelow": int(clearly.sum()),
        "clearlyBelowShare": float(clearly.mean()),
        "medianLift": float(np.median(lifts)),
        "medianLiftOfBelow": float(np.median(lifts[below])) if below.any() else None,
    }
