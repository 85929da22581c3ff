"""How many features a split of the forest is chosen among."""

from __future__ import annotations

import math

MOST_FEATURES_DRAWN = 36


def feature_subset(strategy: str, number: int) -> str:
    """What Spark is told for a strategy, with this number of features.

    `auto`, here, is a third of the features, at most 36. Spark's own `auto`, the square root, mostly draws one-hot
    slots, which outnumber the lags; more than 36 costs time and wins nothing (Docs/BENCHMARKS.md).
    """
    return str(min(-(-number // 3), MOST_FEATURES_DRAWN)) if strategy == "auto" else strategy


def features_drawn(strategy: str, number: int) -> int:
    """What Spark makes of that: of so many features, how many are drawn for each node."""
    told = feature_subset(strategy, number)
    named = {
        "all": number,
        "sqrt": math.ceil(math.sqrt(number)),
        "log2": max(1, math.ceil(math.log(number) / math.log(2))),
        "onethird": math.ceil(number / 3.0),
    }
    if told in named:
        return named[told]
    return min(int(told), number) if told.isdigit() else math.ceil(float(told) * number)
