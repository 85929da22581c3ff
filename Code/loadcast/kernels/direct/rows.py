"""Hours to be forecast, each from its origin, and the one way to look at what is known there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.direct.relative import RelativeGrid

#: How many days the same hour is looked at.
SAME_HOUR_DAYS = 28


@dataclass(frozen=True)
class DirectRows:
    """n hours of a grid, forecast 1 to 48 hours ahead.

    `slots` says where each hour lies in the grid, `origins` which slot is the youngest that its features may know, of
    the same server (or before its first slot); both (n,). Raises ValueError for hours that are not so far ahead.
    """

    relative: RelativeGrid
    slots: Int64s
    origins: Int64s

    def __post_init__(self) -> None:
        if len(self.slots) and not 1 <= self.horizons.min() <= self.horizons.max() <= schema.HORIZON_HOURS:
            raise ValueError(f"wanted hours 1 to {schema.HORIZON_HOURS} after their origins")

    @cached_property
    def horizons(self) -> Int64s:
        """Hours from the origin to the hour, (n,)."""
        return self.slots - self.origins

    @cached_property
    def youngest_days(self) -> Int64s:
        """How many days before the hour the newest known day's same hour lies: 1 or 2, (n,)."""
        return (self.horizons + 23) // 24

    @cached_property
    def first_slots(self) -> Int64s:
        """The first slot of each row's server, (n,)."""
        relative = self.relative
        return (relative.grid.day_begins * 24)[relative.slot_server[self.slots]]

    def known(self, values: Float64s, slots: Int64s) -> Float64s:
        """What `values`, (slots of the grid,), are at `slots`, (n,) or (k, n); NaN after origins and before the grid.

        All features look through here, so none can see what is younger than its origin.
        """
        seen = (slots <= self.origins) & (slots >= self.first_slots)
        return np.where(seen, values.take(slots, mode="clip"), np.nan)

    def at_origin(self, values: Float64s, hours_before: int = 0) -> Float64s:
        """What `values` are so many hours before the origin, (n,)."""
        return self.known(values, self.origins - hours_before)

    @cached_property
    def same_hour_positions(self) -> Float64s:
        """Positions at the same hour of the newest known days, the newest first, (SAME_HOUR_DAYS, n)."""
        return self._same_hour(self.relative.positions)

    @cached_property
    def same_hour_classes(self) -> Float64s:
        """Classes at the same hour of the newest known days, the newest first, (SAME_HOUR_DAYS, n)."""
        return self._same_hour(self.relative.classes)

    def _same_hour(self, values: Float64s) -> Float64s:
        days = self.youngest_days + np.arange(SAME_HOUR_DAYS)[:, None]
        return self.known(values, self.slots - 24 * days)
