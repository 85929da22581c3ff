"""What a feature is: a name and a meaning, where its numbers lie, and one function over the rows of a grid."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadcast.kernels.features.rows import FeatureRows

#: What a category's number stays below.
_MOST = 2**31
Compute = Callable[[FeatureRows], npt.NDArray[Any]]


class Kind(enum.StrEnum):
    """What a feature is made of."""

    CALENDAR = "calendar"
    TREND = "trend"
    LAG = "lag"
    ROLLING = "rolling"
    OTHER = "other"


class Encoding(enum.StrEnum):
    """How a feature enters the model's vector."""

    CATEGORY = "category"  # a whole number: string-indexed, and one-hot encoded where it has two or more levels
    PLAIN = "plain"  # as it is
    SCALED = "scaled"  # (value − mean) ÷ standard deviation of the training rows


@dataclass(frozen=True)
class Feature:
    """One column.

    `compute` takes FeatureRows and gives the column, (n,): whole numbers for a category, else doubles. It may use
    nothing younger than each row's origin, and nothing older than `look_back_h` hours before the row's hour.
    `low` and `high` are the smallest and the largest value; the service refuses others.
    """

    name: str
    kind: Kind
    encoding: Encoding
    unit: str
    meaning: str
    compute: Compute
    look_back_h: int = 0
    low: float = -math.inf
    high: float = math.inf

    @property
    def type(self) -> pa.DataType:
        """The column's type."""
        return pa.int32() if self.encoding is Encoding.CATEGORY else pa.float64()

    @property
    def has_whole_range(self) -> bool:
        """Whether both ends of the range are whole numbers that the column's type can hold."""
        return all(abs(end) < _MOST and float(end).is_integer() for end in (self.low, self.high))

    def column(self, rows: FeatureRows) -> pa.Array:
        """The column of these rows."""
        wanted = np.int32 if self.encoding is Encoding.CATEGORY else np.float64
        return pa.array(self.compute(rows).astype(wanted, copy=False), self.type)
