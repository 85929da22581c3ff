"""Feature rows of simulated cutoffs and of the test period, with labels and naive forecasts beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.kernels.buckets import Int64s
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.features import FeatureRows, FeatureSet, relative_table
from loadcast.kernels.features.feature_set import Origin
from loadcast.kernels.grid import Grid, hours_of
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.simulation.backwards import Turned, backwards
from loadcast.kernels.simulation.draw import Draw
from loadcast.kernels.simulation.views import View


@dataclass(frozen=True)
class Simulation:
    """What rows are made of any server: `views` of the past by `draw`, and the test period by the run's own `rule`.

    The training period goes from `begin` to before `split`, the test period from there to before `end` (hours since
    1970); forecasts are made every `every_h` hours, the first an hour before it.
    """

    features: FeatureSet
    calendar: CalendarRule
    views: tuple[View, ...]
    draw: Draw
    rule: LabelRule
    begin: int
    split: int
    end: int
    every_h: int

    def tables(self, grid: Grid) -> Iterator[pa.Table]:
        """`features.schema`: training rows view by view, then the test period's."""
        yield from self.training_tables(grid)
        yield self.test_table(grid)

    def training_tables(self, grid: Grid) -> Iterator[pa.Table]:
        """The training rows, view by view."""
        for _, alike in groupby(self.views, key=lambda view: (view.is_backwards, view.begin, view.end)):
            first, *others = alike
            seen = backwards(grid, first.begin, self._turned) if first.is_backwards else grid
            near = None if seen is None else between(seen, first.begin - self.features.look_back_h, first.end)
            if seen is None or near is None:
                continue
            for view in (first, *others):
                yield self._table(near, self.draw.rows(near, view), view.rule(seen), view)

    def test_table(self, grid: Grid) -> pa.Table:
        """The rows to score the test period by."""
        return self._table(grid, self._tested(grid), self.rule)

    def times_forecast(self, rows: pa.Table) -> Int64s:
        """How often the hour of each of some rows of test_table is forecast from origins all of whose hours are tested.

        A row of a set whose rows are a forecast each is forecast once.
        """
        if self.features.origin is not Origin.HOUR:
            return np.ones(len(rows), np.int64)
        hours, origins = hours_of(rows.column(schema.HOUR)), self._origins()
        before = np.searchsorted(origins, hours - schema.HORIZON_HOURS)
        return (np.searchsorted(origins, hours) - before).astype(np.int64)

    def _origins(self) -> Int64s:
        """Hours that forecasts are made at: only those whose hours to come all lie in the test period."""
        return np.arange(self.split - 1, self.end - schema.HORIZON_HOURS, self.every_h)

    @property
    def _turned(self) -> Turned:
        return Turned(self.begin, self.split, self.calendar.holidays)

    def _table(self, grid: Grid, chosen: tuple[Int64s, Int64s], rule: LabelRule, view: View | None = None) -> pa.Table:
        """Rows of a view, or of the test period."""
        slots, origins = chosen
        calendar = replace(self.calendar, holidays=frozenset()) if view and view.is_backwards else self.calendar
        known_until = view.begin if view else self.split
        return relative_table(self.features, FeatureRows(grid, slots, origins, calendar, rule), known_until)

    def _tested(self, grid: Grid) -> tuple[Int64s, Int64s]:
        """Slots and origins of the test period's rows, by server, origin and hour."""
        inside = grid.in_grid & (grid.hours >= self.split) & (grid.hours < self.end)
        if self.features.origin is Origin.HOUR:
            slots = np.flatnonzero(inside)
            return slots, slots - schema.HORIZON_HOURS
        ahead = np.arange(1, schema.HORIZON_HOURS + 1)
        made = self._origins()
        starts = (grid.day_begins - grid.first_day) * 24
        hours = (made[:, None] + ahead).ravel()
        is_there = (hours >= grid.first[:, None]) & (hours <= grid.last[:, None])
        slots = (starts[:, None] + hours)[is_there]
        origins = (starts[:, None] + np.repeat(made, len(ahead)))[is_there]
        return slots, origins


def between(grid: Grid, begin: int, end: int) -> Grid | None:
    """The whole days of a grid that hold hours from `begin` to before `end` (since 1970); None where it has none."""
    first_day = np.maximum(grid.first_day, begin // 24)
    last_day = np.minimum(grid.last // 24, (end - 1) // 24)
    kept = np.flatnonzero(first_day <= last_day)
    if not len(kept):
        return None
    days = (grid.day_number >= first_day[grid.day_server]) & (grid.day_number <= last_day[grid.day_server])
    slots = np.repeat(days, 24)
    first, last = np.maximum(grid.first, first_day * 24)[kept], np.minimum(grid.last, last_day * 24 + 23)[kept]
    servers = tuple(grid.servers[server] for server in kept.tolist())
    return Grid(servers, first, last, grid.peaks[:, slots], grid.observed[slots])
