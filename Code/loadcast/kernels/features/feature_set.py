"""A named, versioned list of features; everything that has to know the columns asks it."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from loadcast import schema
from loadcast.errors import ConfigError
from loadcast.kernels.features.baseline import BASELINE
from loadcast.kernels.features.feature import Encoding, Feature
from loadcast.kernels.naive import NAIVE_COLUMNS

_IDENTITY = ((schema.KEY, pa.string()), (schema.SERVER, pa.string()), (schema.HOUR, schema.TIMESTAMP))
_ORIGIN = ((schema.FORECAST_ORIGIN, schema.TIMESTAMP),)
_TRUTH = ((schema.PEAK_LOAD, pa.float64()), (schema.OBSERVED, pa.bool_()), (schema.LABEL, pa.int32()))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


#: A row whose `known_hours` are fewer, three of the last four weeks, is a cold start.
WELL_KNOWN_H = 504


class Origin(enum.StrEnum):
    """What a forecast knows."""

    HOUR = "hour"  # of each hour what is schema.HORIZON_HOURS older
    FORECAST = "forecast"  # all up to when the forecast was made, 1 to schema.HORIZON_HOURS before the hour


@dataclass(frozen=True)
class FeatureSet:
    """Features in the order of their columns; raises ConfigError where they do not fit together.

    `categories` is the order of the indexed columns in the model's vector; those that it does not name follow in the
    order of the features. ServerIP, which every row has, may be among them, and is unless `categories` are given.
    With `simulates_cutoffs` features are relative to the bounds of classes, and training rows are those of a past that
    did not know them: see kernels.simulation. `known_hours` names the feature that says how much history a row has,
    where no ServerIP tells a server that training never saw.
    """

    name: str
    version: int
    features: tuple[Feature, ...]
    categories: tuple[str, ...] = (schema.SERVER,)
    simulates_cutoffs: bool = False
    origin: Origin = Origin.HOUR
    known_hours: str | None = None

    def __post_init__(self) -> None:
        own = tuple(feature.name for feature in self.features if feature.encoding is Encoding.CATEGORY)
        others = (name for name in own if name not in self.categories)
        object.__setattr__(self, "categories", (*self.categories, *others))
        if self.version < 1:
            self._refuse(f"found version {self.version}", "1 or more")
        if not self.features:
            self._refuse("found no features", "one or more")
        for name in (self.name, *self.names):
            if not _NAME.fullmatch(name):
                self._refuse(f"found the name {name[:70]!r}", "a letter and up to 63 letters, digits or '_'")
        taken = [*self.names, *(name for name, _ in (*_IDENTITY, *_ORIGIN, *_TRUTH))]
        if doubled := [name for name, number in Counter(taken).items() if number > 1]:
            self._refuse(f"found the column {doubled[0]} twice", "each once, and none of those that every row has")
        if strange := set(self.categories) - {schema.SERVER, *own}:
            self._refuse(f"found the category {min(strange)}", "ServerIP or a feature that is one")
        if vague := [feature.name for feature in self.features if feature.name in own and not feature.has_whole_range]:
            self._refuse(f"found the category {vague[0]} without a range", "the smallest and the largest whole number")
        if changed := [
            feature.name for feature in BASELINE if feature.name in self.names and feature not in self.features
        ]:
            self._refuse(f"found another {changed[0]}", "that of the naive forecasts, or another name")

    def _refuse(self, problem: str, wanted: str) -> None:
        raise ConfigError(f"Feature set {self.name[:70]}: {problem}, wanted {wanted}.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """The columns that enter the vector as they are."""
        return self._encoded_as(Encoding.PLAIN)

    @cached_property
    def scaled(self) -> tuple[str, ...]:
        """The columns that are scaled."""
        return self._encoded_as(Encoding.SCALED)

    @property
    def look_back_h(self) -> int:
        """How many hours before its own the oldest hour lies that any feature looks at."""
        return max(feature.look_back_h for feature in self.features)

    @cached_property
    def columns(self) -> tuple[Feature, ...]:
        """The features, and behind them those that only the naive forecasts need."""
        if self.simulates_cutoffs:  # there the naive forecasts stand themselves
            return self.features
        return (*self.features, *(feature for feature in BASELINE if feature.name not in self.names))

    @cached_property
    def schema(self) -> pa.Schema:
        """The table that ETL makes."""
        if self.simulates_cutoffs:
            naive = ((name, pa.int32()) for name in NAIVE_COLUMNS)
            return _schema((*_IDENTITY, *_ORIGIN, *_TRUTH, *naive), self.columns)
        return _schema((*_IDENTITY, *_TRUTH), self.columns)

    @cached_property
    def scoring_schema(self) -> pa.Schema:
        """What is known of an hour to come, and sent to the service."""
        return _schema(_IDENTITY, self.features)

    @cached_property
    def request_schema(self) -> pa.Schema:
        """What the service reads of it."""
        return _schema(_IDENTITY[1:], self.features)

    def vector(self, only_indexed: Iterable[str], for_encode: Iterable[str]) -> tuple[str, ...]:
        """Columns of the model's vector, in order.

        `only_indexed` and `for_encode` are the categorical columns with one, and with two or more, training levels.
        """
        return (
            *map(schema.indexed, only_indexed),
            *map(schema.encoded, for_encode),
            *self.plain,
            *map(schema.scaled, self.scaled),
        )

    def _encoded_as(self, encoding: Encoding) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features if feature.encoding is encoding)


def _schema(first: Iterable[tuple[str, pa.DataType]], features: Iterable[Feature]) -> pa.Schema:
    return pa.schema([*first, *((feature.name, feature.type) for feature in features)])
