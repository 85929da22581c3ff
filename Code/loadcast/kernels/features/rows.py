"""Which hours of a grid want features, and what those may know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.calendar import CalendarRule, Dates
from loadcast.kernels.direct.relative import RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import LabelRule


@dataclass(frozen=True)
class FeatureRows:
    """n hours of a grid, past or to come: what every function of a feature is given.

    `slots` says where each hour lies in the grid, `origins` which slot of the same server is the youngest that its
    features may know; both (n,). Slots after an origin may hold loads, or, where they are still to come, zeros. `rule`
    has the bounds that loads are seen relative to, where a set's features are.
    """

    grid: Grid
    slots: Int64s
    origins: Int64s
    calendar: CalendarRule
    rule: LabelRule | None = None

    @property
    def bounds(self) -> LabelRule:
        """The rule. Raises ValueError without one."""
        if self.rule is None:
            raise ValueError("wanted a label rule for features that are relative to the bounds of classes")
        return self.rule

    @cached_property
    def relative(self) -> DirectRows:
        """The rows with loads relative to the bounds of their classes. Raises ValueError without a rule."""
        return DirectRows(RelativeGrid(self.grid, self.bounds), self.slots, self.origins)

    @cached_property
    def shared(self) -> dict[str, dict[str, Float64s]]:
        """Where functions of features that come together keep what they have made."""
        return {}

    @cached_property
    def days(self) -> Int64s:
        """Which of the grid's days each row's hour is in, (n,)."""
        return self.slots // 24

    @cached_property
    def hours(self) -> Int64s:
        """Hours since 1970, (n,)."""
        return self.grid.hours.take(self.slots)

    @cached_property
    def codes(self) -> Int64s:
        """Which of the grid's servers each row is of, (n,)."""
        return self.grid.day_server.take(self.days)

    @cached_property
    def servers(self) -> pa.Array:
        """ServerIP, (n,)."""
        return pa.array(self.grid.servers, pa.string()).take(pa.array(self.codes))

    @cached_property
    def dates(self) -> Dates:
        """The dates of all days of the grid; `of_day` brings what is made of them to the rows."""
        return Dates(self.grid.day_number, self.calendar.holidays)

    @cached_property
    def hours_before(self) -> Int64s:
        """How many slots of the same server lie before each row's hour, (n,)."""
        return self.slots - (self.grid.day_begins * 24).take(self.codes)

    @cached_property
    def days_before(self) -> Int64s:
        """How many days of the same server lie before each day of the grid, (days,)."""
        return np.arange(len(self.grid.day_server)) - self.grid.day_begins[self.grid.day_server]

    def peaks(self, measure: str) -> Float64s:
        """One of schema.PEAKS for all slots of the grid, (slots,)."""
        peaks: Float64s = self.grid.peaks[schema.PEAKS.index(measure)]
        return peaks

    def daily(self, measure: str) -> Float64s:
        """The daily means of one of schema.PEAKS for all days of the grid, (days,)."""
        means: Float64s = self.grid.daily[schema.PEAKS.index(measure)]
        return means

    def of_hours_before(self, values: Float64s, lag_h: int) -> Float64s:
        """What `values`, (slots,), are `lag_h` hours before each row's hour, (n,); 0 before the server's first day."""
        earlier = values.take(self.slots - lag_h, mode="clip")
        earlier[self.hours_before < lag_h] = 0.0
        return earlier

    def of_days_before(self, values: Float64s, lag_days: int) -> Float64s:
        """What `values`, (days,), are `lag_days` days before each day, (days,); 0 before the server's first day."""
        earlier = values.take(np.arange(len(values)) - lag_days, mode="clip")
        earlier[self.days_before < lag_days] = 0.0
        return earlier

    def of_day(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """What `values`, (days,), are on each row's day, (n,)."""
        return values.take(self.days)
