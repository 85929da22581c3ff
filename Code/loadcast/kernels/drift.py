"""Whether numbers are still spread as they were: the population stability index.

PSI is the sum over bins of (share now − share then) · ln(share now ÷ share then).
Source: Siddiqi, Credit Risk Scorecards (2006), where less than 0.1 is no shift, 0.25 or more a large one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.buckets import Float64s, Int64s

N_BINS = 10
#: Rows that an empty bin counts for, so that its share has a logarithm.
_SMOOTHING = 0.5


def bin_edges(values: Float64s) -> Float64s:
    """The bounds between bins of about equally many of these values, N_BINS − 1 at most, strictly rising.

    A value belongs to the bin above each bound that it exceeds, so one that many rows share, such as a load of 0, has
    a bin of its own where it is a bound. Values that are not finite don't count.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(0)
    edges: Float64s = np.unique(np.quantile(finite, np.arange(1, N_BINS) / N_BINS, method="lower"))
    return edges


def bin_counts(values: Float64s, edges: Float64s) -> Int64s:
    """How many values lie in each bin, (len(edges) + 2,): the last counts those that are not finite."""
    finite = np.isfinite(values)
    counts = np.bincount(np.searchsorted(edges, values[finite], "left"), minlength=len(edges) + 1)
    return np.append(counts, np.count_nonzero(~finite)).astype(np.int64)


def stability_index(then: NDArray[Any], now: NDArray[Any]) -> float | None:
    """The PSI of counts by bin, (bins,) each; None where one of both has no rows.

    Bins that are empty in both don't count; in others each side has half a row more.
    """
    if not then.sum() or not now.sum():
        return None
    used = (then + now) > 0
    before, after = (counts[used] + _SMOOTHING for counts in (then, now))
    before, after = before / before.sum(), after / after.sum()
    return float(((after - before) * np.log(after / before)).sum())
