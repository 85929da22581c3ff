"""What encoders and scaler need to know of the training rows: levels, means and deviations, gathered part by part."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loadcast import schema
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.features import FeatureSet


@dataclass(frozen=True)
class TrainingSummary:
    """Of n training rows: how many have each level of each categorical column, and moments of the scaled columns.

    `mean` and `squares` (sum of squared differences from the mean): (k,) for the k scaled columns of the feature set.
    """

    rows: int
    levels: dict[str, Counter[str]]
    mean: Float64s
    squares: Float64s

    def ordered_levels(self, column: str) -> list[str]:
        """The column's levels, most frequent first, ties in string order: as Spark's StringIndexer numbers them."""
        return [level for level, _ in sorted(self.levels[column].items(), key=lambda item: (-item[1], item[0]))]

    @property
    def deviation(self) -> Float64s:
        """Sample standard deviations, (k,); 0 for equal values and for a single row."""
        return np.sqrt(self.squares / max(self.rows - 1, 1))

    def as_json(self) -> str:
        """One JSON text, for combine. Doubles keep their bits."""
        moments = {"mean": self.mean.tolist(), "squares": self.squares.tolist()}
        return json.dumps({"rows": self.rows, "levels": self.levels, **moments}, separators=(",", ":"))


def summarize(rows: pa.Table, features: FeatureSet, split_seconds: int) -> TrainingSummary:
    """The summary of rows of `features.schema`: those observed whose hour starts before `split_seconds`."""
    split = pa.scalar(split_seconds * 1_000_000, pa.timestamp("us"))
    training = rows.filter(pc.and_(rows.column(schema.OBSERVED), pc.less(rows.column(schema.HOUR), split)))
    levels = {name: _count(training.column(name)) for name in features.categories}
    if not training.num_rows:
        return TrainingSummary(0, levels, *np.zeros((2, len(features.scaled))))
    values = np.stack([training.column(name).to_numpy() for name in features.scaled])
    # From the first row on: equal values have exactly their own mean, and no deviation.
    mean = values[:, 0] + (values - values[:, :1]).mean(axis=1)
    return TrainingSummary(training.num_rows, levels, mean, ((values - mean[:, None]) ** 2).sum(axis=1))


def _count(column: pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(column)
    levels, numbers = counted.field(0).cast(pa.string()), counted.field(1)
    return Counter(dict(zip(levels.to_pylist(), numbers.to_pylist(), strict=True)))


def combine(texts: Iterable[str], features: FeatureSet) -> TrainingSummary:
    """The summary of all rows of several texts (TrainingSummary.as_json), taken in the order given.

    Means and squares are put together as Chan, Golub and LeVeque (1979) do, which loses no digits where the mean is
    large.
    """
    rows = 0
    levels: dict[str, Counter[str]] = {name: Counter() for name in features.categories}
    mean, squares = np.zeros((2, len(features.scaled)))
    for text in texts:
        part = json.loads(text)
        if not part["rows"]:
            continue
        for name, counts in part["levels"].items():
            levels[name].update(counts)
        share = part["rows"] / (rows + part["rows"])
        difference = np.array(part["mean"]) - mean
        mean = mean + difference * share
        squares = squares + np.array(part["squares"]) + difference**2 * (rows * share)
        rows += part["rows"]
    return TrainingSummary(rows, levels, mean, squares)
