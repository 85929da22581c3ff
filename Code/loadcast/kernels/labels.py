"""What low, medium and high mean: the bounds of each class of load, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

ABSOLUTE = "absolute"
CONFIGURED = "configured"


@dataclass(frozen=True)
class Bounds:
    """Class bounds of peakLoad: low up to and including `low`, high above `high`; `source` says where they are from."""

    low: float
    high: float
    source: str = CONFIGURED


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
