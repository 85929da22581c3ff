"""Loads relative to the bounds of their classes: 0 is the low bound and 1 the high one, in logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import LabelRule

#: The load added before logarithms are taken, as a share of the rule's common high bound.
OFFSET_SHARE = 0.002
#: Bounds nearer to each other than this, in logarithms, count as so far apart.
NARROWEST = 0.02
LOWEST, HIGHEST = -4.0, 5.0
#: Positions are whole multiples of one of so many parts of 1, so that sums of them are exact.
STEPS = 2**18


@dataclass(frozen=True)
class RelativeGrid:
    """A grid whose loads are seen by a rule; what is not observed is NaN, (slots,) each."""

    grid: Grid
    rule: LabelRule

    @cached_property
    def slot_server(self) -> Int64s:
        """Which server each slot is of."""
        return np.repeat(self.grid.day_server, 24)

    @cached_property
    def slots_before(self) -> Int64s:
        """How many slots of the same server lie before each."""
        return np.arange(len(self.slot_server)) - (self.grid.day_begins * 24)[self.slot_server]

    @cached_property
    def positions(self) -> Float64s:
        """(log(load + ε) − log(low + ε)) ÷ (log(high + ε) − log(low + ε)), from LOWEST to HIGHEST, in STEPS."""
        load, low = np.log(np.maximum(self._loads, 0.0) + self._offset), self._logarithms[0]
        relative = (load - low[self.slot_server]) / np.maximum(self.widths, NARROWEST)[self.slot_server]
        return self._observed(np.rint(np.clip(relative, LOWEST, HIGHEST) * STEPS) / STEPS)

    @cached_property
    def steps(self) -> Int64s:
        """Positions in parts of 1 ÷ STEPS; 0 where nothing is observed."""
        return np.rint(np.nan_to_num(self.positions) * STEPS).astype(np.int64)

    @cached_property
    def classes(self) -> Float64s:
        """1 low, 2 medium, 3 high."""
        labels = self.rule.labels(self._loads, self.grid.servers, self.slot_server)
        return self._observed(labels.astype(np.float64))

    @property
    def widths(self) -> Float64s:
        """How far apart each server's bounds are, in logarithms, (servers,)."""
        low, high = self._logarithms
        return high - low

    @property
    def _loads(self) -> Float64s:
        loads: Float64s = self.grid.peaks[schema.PEAKS.index(schema.PEAK_LOAD)]
        return loads

    @property
    def _offset(self) -> float:
        """ε: in proportion to the loads that matter, so that their unit does not; 1 where all of them are 0."""
        return OFFSET_SHARE * self.rule.common.high if self.rule.common.high > 0 else 1.0

    @cached_property
    def _logarithms(self) -> tuple[Float64s, Float64s]:
        """Of both bounds of each server, (servers,) each."""
        bounds = [self.rule.bounds(server) for server in self.grid.servers]
        low, high = (np.array(values) for values in zip(*((each.low, each.high) for each in bounds), strict=True))
        return np.log(np.maximum(low, 0.0) + self._offset), np.log(np.maximum(high, 0.0) + self._offset)

    def _observed(self, values: Float64s) -> Float64s:
        return np.where(self.grid.observed, values, np.nan)

    def against(self, values: Int64s, hours: int) -> tuple[Int64s, NDArray[np.bool_]]:
        """How much `values`, (slots,), have changed in so many hours, and where both are observed; elsewhere 0."""
        index = np.arange(len(values)) - hours
        both = self.grid.observed & (self.slots_before >= hours) & self.grid.observed.take(index, mode="clip")
        return np.where(both, values - values.take(index, mode="clip"), 0), both

    def earlier(self, values: NDArray[np.float64], hours: int) -> Float64s:
        """What `values`, (slots,), are `hours` hours before each slot; NaN before the server's first day."""
        index = np.arange(len(values)) - hours
        return np.where(self.slots_before >= hours, values.take(index, mode="clip"), np.nan)
