"""Records into the model's feature vector: the string index, one-hot and scaling of Spark ML, in arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.errors import ArtefactError, InputError
from loadcast.kernels.features import FeatureSet
from loadcast.kernels.training import TrainingSummary


@dataclass(frozen=True, eq=False)
class Encoders:
    """What training learnt about the columns.

    `levels`: per categorical column its training levels as text, in index order. `only_indexed`, `for_encode`: the
    columns with one, and with two or more, levels. `mean`, `scale`: (k,) for the k scaled columns; scale is
    1 ÷ standard deviation, and 0 where that is 0.

    Raises ArtefactError when these do not fit each other or the feature set.
    """

    features: FeatureSet
    levels: Mapping[str, tuple[str, ...]]
    only_indexed: tuple[str, ...]
    for_encode: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        wanted = set(self.features.categories)
        given = (*self.only_indexed, *self.for_encode)
        if set(given) != wanted or len(given) != len(wanted) or set(self.levels) != wanted:
            raise ArtefactError(
                f"The encoders are for {', '.join(sorted({*given, *self.levels}))}; "
                f"wanted each of {', '.join(sorted(wanted))} once. Train again with this version of loadcast."
            )
        doubled = [name for name, levels in self.levels.items() if len(set(levels)) != len(levels)]
        if doubled:
            raise ArtefactError(f"The encoder of {doubled[0]} names a level twice. Train again.")
        size = (len(self.features.scaled),)
        if self.mean.shape != size or self.scale.shape != size or not np.isfinite([self.mean, self.scale]).all():
            raise ArtefactError(
                f"The scaler has {self.mean.size} means and {self.scale.size} scales; "
                f"wanted {size[0]} finite ones of each. Train again with this version of loadcast."
            )

    @cached_property
    def positions(self) -> dict[str, dict[str, int]]:
        """Per categorical column: level → index."""
        return {name: {level: i for i, level in enumerate(levels)} for name, levels in self.levels.items()}

    @property
    def n_features(self) -> int:
        """Width of the feature vector."""
        slots = sum(len(self.levels[name]) for name in self.for_encode)
        return len(self.only_indexed) + slots + len(self.features.plain) + len(self.features.scaled)

    @property
    def vector(self) -> tuple[str, ...]:
        """Columns of the feature vector, in order."""
        return self.features.vector(self.only_indexed, self.for_encode)


def encoders_of(features: FeatureSet, training: TrainingSummary) -> Encoders:
    """What these training rows teach. Raises InputError where there are too few."""
    levels = {name: tuple(training.ordered_levels(name)) for name in features.categories}
    for_encode = tuple(name for name, known in levels.items() if len(known) > 1)
    if training.rows < 2 or not (for_encode or training.deviation.any() or features.simulates_cutoffs):
        raise InputError(
            "Found no two observed hours before testSplitStart to train on. "
            "Check trainBegin, testSplitStart and dataFile."
        )
    only_indexed = tuple(name for name in levels if name not in for_encode)
    with np.errstate(divide="ignore"):
        scale = np.where(training.deviation > 0, 1.0 / training.deviation, 0.0)
    return Encoders(features, levels, only_indexed, for_encode, training.mean, scale)


def string_index(table: pa.Table, column: str, encoders: Encoders) -> NDArray[np.intp]:
    """Index of each row's level: (n,). An unseen or missing level gets the number of training levels."""
    positions = encoders.positions[column]
    encoded = table.column(column).combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.zeros(0, dtype=np.intp)
    texts = encoded.dictionary.cast(pa.string()).to_pylist()
    level_indices = np.array([positions.get(text, len(positions)) for text in texts], dtype=np.intp)
    indices: NDArray[np.intp] = level_indices[encoded.indices.to_numpy()]
    return indices


def scaled_columns(table: pa.Table, encoders: Encoders) -> NDArray[np.float64]:
    """The scaled columns, (value − mean) × scale: (n, k)."""
    values = np.empty((table.num_rows, len(encoders.features.scaled)))
    for at, name in enumerate(encoders.features.scaled):
        values[:, at] = table.column(name).to_numpy()
    # Values near the largest double may overflow to infinity, in Spark as here; a tree takes that as "large".
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: NDArray[np.float64] = (values - encoders.mean) * encoders.scale
    return scaled


def encoded_table(table: pa.Table, encoders: Encoders) -> pa.Table:
    """The rows with their indexed, one-hot and scaled columns: mlSource.

    A one-hot column is Spark ML's sparse vector, as Spark keeps it: of one 1, or of nothing for an unseen level.
    """
    columns = {name: table.column(name) for name in encoders.features.schema.names}
    indices = {name: string_index(table, name, encoders) for name in encoders.features.categories}
    for name, index in indices.items():
        columns[schema.indexed(name)] = pa.array(index.astype(np.float64))
    for name in encoders.for_encode:
        columns[schema.encoded(name)] = _one_hot(indices[name], len(encoders.levels[name]))
    for name, values in zip(encoders.features.scaled, scaled_columns(table, encoders).T, strict=True):
        columns[schema.scaled(name)] = pa.array(np.ascontiguousarray(values))
    return pa.table(columns)


def _one_hot(index: NDArray[np.intp], slots: int) -> pa.StructArray:
    seen = index < slots
    offsets = pa.array(np.concatenate(([0], np.cumsum(seen))).astype(np.int32))
    positions = pa.ListArray.from_arrays(offsets, pa.array(index[seen].astype(np.int32)))
    ones = pa.ListArray.from_arrays(offsets, pa.array(np.ones(int(seen.sum()))))
    sparse = pa.array(np.zeros(len(index), dtype=np.int8))
    sizes = pa.array(np.full(len(index), slots, dtype=np.int32))
    return pa.StructArray.from_arrays([sparse, sizes, positions, ones], ["type", "size", "indices", "values"])
