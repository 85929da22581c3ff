"""What low, medium and high mean: the bounds of each class of load, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from loadcast.errors import InputError

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

#: The names of rules: configured bounds, or quantiles of the fleet's hours, or of each server's own.
ABSOLUTE, QUANTILE, PER_SERVER = "absolute", "quantile", "perServer"
#: Where bounds are from: the configuration, all servers' hours, or the server's own.
CONFIGURED, FLEET, SERVER = "configured", "fleet", "server"
#: A server with fewer observed hours before the test period is too young for bounds of its own: a week of hours.
OWN_BOUNDS_H = 168
#: The label of an hour while the bounds are still to be learned.
UNLABELLED = 0


@dataclass(frozen=True)
class Bounds:
    """Class bounds of peakLoad: low up to and including `low`, high above `high`; `source` says where they are from."""

    low: float
    high: float
    source: str = CONFIGURED


@dataclass(frozen=True)
class LabelQuantiles:
    """Bounds still to be learned: quantiles of the observed hourly peaks that ended by the test period's start.

    `name` is QUANTILE or PER_SERVER; `low` and `high` are shares of the hours, 0 to 1; `until_hour` is the first hour
    since 1970 that is not known.
    """

    name: str
    low: float
    high: float
    until_hour: int

    def rule(self, fleet: Sequence[float], own: Mapping[str, Sequence[float]]) -> LabelRule:
        """The rule of both quantiles of the fleet's hours, and of those servers' that are old enough.

        Raises InputError where the fleet has none (NaN), as no hour was observed.
        """
        if np.isnan(fleet).any():
            raise InputError(
                f"labelRule {self.name}: found no observed hour that ended by testSplitStart, wanted some to learn the "
                "bounds of classes from. Check trainBegin, testSplitStart and dataFile."
            )
        of_server = {server: Bounds(low, high, SERVER) for server, (low, high) in sorted(own.items())}
        return LabelRule(self.name, Bounds(fleet[0], fleet[1], FLEET), of_server)


@dataclass(frozen=True)
class LabelRule:
    """The bounds of every server: those of `of_server`, or, for one that has none of its own, `common`."""

    name: str
    common: Bounds
    of_server: Mapping[str, Bounds] = field(default_factory=dict)

    @classmethod
    def absolute(cls, low: float, high: float) -> LabelRule:
        """The configured bounds, the same for every server."""
        return cls(ABSOLUTE, Bounds(low, high))

    def bounds(self, server: str) -> Bounds:
        """The bounds of one server, seen in training or not."""
        return self.of_server.get(server, self.common)

    def labels(self, peak_load: Float64s, servers: Sequence[str], codes: Int64s) -> npt.NDArray[np.int32]:
        """1 low, 2 medium, 3 high for each load, (n,); `codes`, (n,), index `servers`."""
        low: Float64s | float
        high: Float64s | float
        low, high = self.common.low, self.common.high
        if self.of_server:
            bounds = [self.bounds(server) for server in servers]
            low = np.array([bound.low for bound in bounds])[codes]
            high = np.array([bound.high for bound in bounds])[codes]
        labels: npt.NDArray[np.int32] = (1 + (peak_load > low) + (peak_load > high)).astype(np.int32)
        return labels
