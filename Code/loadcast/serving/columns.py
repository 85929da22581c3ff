"""Records of a request in columns, as plain arrays, and the matrix that the model takes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.encode import Encoders
from loadcast.kernels.features import Encoding, FeatureSet
from loadcast.kernels.features.feature_set import WELL_KNOWN_H
from loadcast.kernels.vectors import numbers_in

#: Room for a value in a key, which is the category's number and the value behind it; values lie within ±2³¹.
_VALUE_BITS = 33
#: Of a level that training never saw.
_NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Columns:
    """n records.

    `servers`, `hours`: n texts, addresses in their shortest form, times as schema.TIME_FORMAT. `whole`:
    (n, categories) and `numbers`: (n, others), the features of these kinds in the order of the feature set.
    """

    servers: Sequence[str]
    hours: Sequence[str]
    whole: NDArray[np.int64]
    numbers: NDArray[np.float64]


def whole_names(features: FeatureSet) -> list[str]:
    """Columns of Columns.whole."""
    return [feature.name for feature in features.features if feature.encoding is Encoding.CATEGORY]


def number_names(features: FeatureSet) -> list[str]:
    """Columns of Columns.numbers."""
    return [feature.name for feature in features.features if feature.encoding is not Encoding.CATEGORY]


def columns_of(table: pa.Table, features: FeatureSet) -> Columns:
    """The columns of a table of the request contract's schema."""
    whole, numbers = whole_names(features), number_names(features)
    values = np.empty((table.num_rows, len(numbers)))
    integers = np.empty((table.num_rows, len(whole)), dtype=np.int64)
    for target, names in ((values, numbers), (integers, whole)):
        for at, name in enumerate(names):
            target[:, at] = numbers_in(table.column(name))
    hours = pc.strftime(table.column(schema.HOUR).cast(pa.timestamp("s")), format=schema.TIME_FORMAT)
    return Columns(table.column(schema.SERVER).to_pylist(), hours.to_pylist(), integers, values)


class MatrixBuilder:
    """Columns → the model's matrix, whose columns are as `encoders.vector` orders them.

    A one-hot column has one slot per training level, all 0 for an unseen one.
    The levels of all categories stand in one sorted list of keys, so that one search finds those of all records.
    """

    def __init__(self, encoders: Encoders) -> None:
        features = encoders.features
        self._encoders = encoders
        self._starts = _starts(encoders)
        # A column of one level holds its index, 0, and 1 where it is another.
        self._unseen = np.array([float(len(encoders.levels[name])) for name in encoders.only_indexed])
        known: dict[int, tuple[int, float]] = {}
        for number, name in enumerate(whole_names(features)):
            for position, level in enumerate(encoders.levels[name]):
                if _is_whole(level):
                    known[(number << _VALUE_BITS) + int(level)] = self._cell(name, position)
        self._keys = np.array(sorted(known), dtype=np.int64)
        self._columns = np.array([known[key][0] for key in sorted(known)], dtype=np.intp)
        self._values = np.array([known[key][1] for key in sorted(known)], dtype=np.float64)
        self._category_keys = np.arange(len(whole_names(features)), dtype=np.int64) << _VALUE_BITS
        self._servers = encoders.positions.get(schema.SERVER)
        at = {name: number for number, name in enumerate(number_names(features))}
        self._plain = np.array([at[name] for name in features.plain], dtype=np.intp)
        self._scaled = np.array([at[name] for name in features.scaled], dtype=np.intp)
        self._known_hours = None if features.known_hours is None else at[features.known_hours]

    def matrix(self, columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The matrix, (n, width), and the cold starts, (n,): rows of servers that training never saw.

        Where the model is not told the server, they are those of which less than WELL_KNOWN_H hours are known.
        """
        matrix = np.zeros((len(columns.servers), self._encoders.n_features))
        matrix[:, : len(self._unseen)] = self._unseen
        self._set_categories(matrix, columns.whole)
        cold_start = self._set_servers(matrix, columns.servers)
        if self._known_hours is not None:
            cold_start = columns.numbers[:, self._known_hours] < WELL_KNOWN_H
        first = matrix.shape[1] - len(self._plain) - len(self._scaled)
        matrix[:, first : first + len(self._plain)] = columns.numbers.take(self._plain, axis=1)
        # Values near the largest double may overflow to infinity, in Spark as here; a tree takes that as "large".
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (columns.numbers.take(self._scaled, axis=1) - self._encoders.mean) * self._encoders.scale
        matrix[:, first + len(self._plain) :] = scaled
        return matrix, cold_start

    def _set_categories(self, matrix: NDArray[np.float64], whole: NDArray[np.int64]) -> None:
        if not len(self._keys):
            return
        wanted = whole + self._category_keys
        at = np.searchsorted(self._keys, wanted)
        np.minimum(at, len(self._keys) - 1, out=at)
        rows, categories = np.nonzero(self._keys.take(at) == wanted)
        level = at[rows, categories]
        matrix[rows, self._columns.take(level)] = self._values.take(level)

    def _set_servers(self, matrix: NDArray[np.float64], servers: Sequence[str]) -> NDArray[np.bool_]:
        if self._servers is None:
            return np.zeros(len(servers), dtype=bool)
        known = self._servers
        positions = np.array([known.get(server, _NOWHERE) for server in servers], dtype=np.intp)
        unseen: NDArray[np.bool_] = positions == _NOWHERE
        rows = np.flatnonzero(~unseen)
        if schema.SERVER in self._encoders.for_encode:
            matrix[rows, self._starts[schema.SERVER] + positions[rows]] = 1.0
        else:
            matrix[rows, self._starts[schema.SERVER]] = positions[rows]
        return unseen

    def _cell(self, name: str, position: int) -> tuple[int, float]:
        """The column of a category's level in the vector, and what stands there."""
        start = self._starts[name]
        return (start + position, 1.0) if name in self._encoders.for_encode else (start, float(position))


def _starts(encoders: Encoders) -> dict[str, int]:
    """The first column of each category in the vector."""
    starts = {name: number for number, name in enumerate(encoders.only_indexed)}
    at = len(starts)
    for name in encoders.for_encode:
        starts[name] = at
        at += len(encoders.levels[name])
    return starts


def _is_whole(level: str) -> bool:
    """Whether a level is an integer's text, and so can be a value's."""
    digits = level.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 10 and str(int(level)) == level
