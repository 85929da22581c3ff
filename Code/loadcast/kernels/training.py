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
from loadcast.kernels.moments import Moments


@dataclass(frozen=True)
class TrainingSummary:
    """Of n training rows: how many have each level of each categorical column, and moments of the k scaled columns.

    Neither the order of the rows nor their parts show in it.
    """

    levels: dict[str, Counter[str]]
    moments: Moments

    @property
    def rows(self) -> int:
        """Number of training rows."""
        return self.moments.rows

    @property
    def mean(self) -> Float64s:
        """Means of the k scaled columns, (k,)."""
        return self.moments.mean

    @property
    def deviation(self) -> Float64s:
        """Sample standard deviations, (k,); 0 for equal values, a single row, and where the inverse is too large."""
        deviation = self.moments.deviation
        return np.where(deviation < np.finfo(np.float64).tiny, 0.0, deviation)

    def ordered_levels(self, column: str) -> list[str]:
        """The column's levels, most frequent first, ties in string order: as Spark's StringIndexer numbers them."""
        return [level for level, _ in sorted(self.levels[column].items(), key=lambda item: (-item[1], item[0]))]

    def as_json(self) -> str:
        """One JSON text, for combine."""
        content = {"rows": self.rows, "levels": self.levels, **self.moments.packed()}
        return json.dumps(content, separators=(",", ":"))


def summarize(rows: pa.Table, features: FeatureSet, split_seconds: int) -> TrainingSummary:
    """The summary of rows of `features.schema`: those observed whose hour starts before `split_seconds`."""
    split = pa.scalar(split_seconds * 1_000_000, pa.timestamp("us"))
    training = rows.filter(pc.and_(rows.column(schema.OBSERVED), pc.less(rows.column(schema.HOUR), split)))
    levels = {name: _count(training.column(name)) for name in features.categories}
    values = np.stack([training.column(name).to_numpy() for name in features.scaled])
    return TrainingSummary(levels, Moments.of(values))


def _count(column: pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(column)
    levels, numbers = counted.field(0).cast(pa.string()), counted.field(1)
    return Counter(dict(zip(levels.to_pylist(), numbers.to_pylist(), strict=True)))


def combine(texts: Iterable[str], features: FeatureSet) -> TrainingSummary:
    """The summary of all rows of several texts (TrainingSummary.as_json), in any order."""
    levels: dict[str, Counter[str]] = {name: Counter() for name in features.categories}
    moments = Moments.none(len(features.scaled))
    for text in texts:
        part = json.loads(text)
        for name, counts in part["levels"].items():
            levels[name].update(counts)
        moments += Moments.unpacked(part["rows"], part["sums"], part["squares"])
    return TrainingSummary(levels, moments)
