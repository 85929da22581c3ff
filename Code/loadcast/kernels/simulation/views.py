"""The cutoffs that are simulated, and the bounds by which the days after each are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import ABSOLUTE, FLEET, OWN_BOUNDS_H, PER_SERVER, QUANTILE, SERVER, Bounds, LabelRule
from loadcast.kernels.simulation.sketch import Sketch

#: Training rows are of this many hours after a cutoff.
SPAN_H = 18 * 24
#: The first cutoff lies so many hours after the begin of the training period, and the others at least so far apart.
_FIRST_H, _STEP_H = 14 * 24, 84
_MOST_CUTOFFS = 40
#: Besides by the configured rule, each cutoff is seen by so many others: other quantiles, of the fleet or of servers.
PLACEMENTS = 8
_OTHER_KIND = 0.5
_LOW_AROUND, _HIGH_AROUND = (-0.15, 0.15), (-0.10, 0.07)
_INSIDE = (0.02, 0.98)
_APART = 0.05


@dataclass(frozen=True)
class View:
    """Training rows are of the hours from `begin` to before `end`, seen by bounds that are of what lies before `begin`.

    `name` is the rule's; `low` and `high` are quantiles, for servers' own bounds; `common` has the others. `number`
    makes its draws its own.
    """

    number: int
    begin: int
    end: int
    name: str
    low: float
    high: float
    common: Bounds

    def rule(self, grid: Grid) -> LabelRule:
        """The rule of the servers of a grid, of which nothing from `begin` on is looked at."""
        if self.name != PER_SERVER:
            return LabelRule(self.name, self.common)
        peaks = np.where(grid.observed & (grid.hours < self.begin), grid.peaks[0], np.nan)
        own: dict[str, Bounds] = {}
        for server, name in enumerate(grid.servers):
            begin = int(grid.day_begins[server]) * 24
            known = peaks[begin : begin + int(grid.days[server]) * 24]
            known = known[~np.isnan(known)]
            if len(known) >= OWN_BOUNDS_H:
                low, high = _quantiles(known, (self.low, self.high))
                own[name] = Bounds(low, high, SERVER)
        return LabelRule(self.name, self.common, own)


def cutoffs(begin: int, split: int, horizon: int) -> list[int]:
    """The hours that are simulated as the end of what is known, ascending, spread over the time from begin to split.

    All are hours since 1970. Each leaves `horizon` hours before the split.
    """
    first, last = begin + _FIRST_H, split - horizon
    if first >= last:
        # Too short a time for what is better: one, in its middle.
        return [(begin + last) // 2] if last - begin >= horizon else []
    step = max(_STEP_H, -(-(last - first) // (_MOST_CUTOFFS * 12)) * 12)
    return list(range(first, last, step))


def views(sketch: Sketch, split: int, asked: View, seed: int) -> list[View]:
    """All views of all cutoffs: for each that of `asked`, and PLACEMENTS of other bounds, drawn around its quantiles.

    `asked` is the configured rule: of ABSOLUTE its bounds count, of others its quantiles. A cutoff before which no
    hour was observed has none.
    """
    random, found = np.random.default_rng(seed), list[View]()
    for cutoff in sketch.cutoffs:
        drawn = random.random((PLACEMENTS, 3))
        peaks = sketch.before(cutoff)
        if not peaks.total:
            continue
        own = replace(asked, begin=cutoff, end=min(cutoff + SPAN_H, split))
        if asked.name == ABSOLUTE:
            own = replace(own, low=peaks.share(asked.common.low), high=peaks.share(asked.common.high))
        plans = [own, *(_placed(own, one) for one in drawn)]
        for plan in plans:
            common = plan.common
            if plan.name != ABSOLUTE:
                common = Bounds(peaks.quantile(plan.low), peaks.quantile(plan.high), FLEET)
            found.append(replace(plan, common=common, number=len(found)))
    return found


def _placed(own: View, drawn: Float64s) -> View:
    """A view by other bounds; `drawn` are three numbers from 0 to 1."""
    low = own.low + _LOW_AROUND[0] + drawn[0] * (_LOW_AROUND[1] - _LOW_AROUND[0])
    high = own.high + _HIGH_AROUND[0] + drawn[1] * (_HIGH_AROUND[1] - _HIGH_AROUND[0])
    low = float(np.clip(low, _INSIDE[0], _INSIDE[1] - _APART))
    high = float(np.clip(high, low + _APART, _INSIDE[1]))
    is_fleet = (own.name == PER_SERVER) == (drawn[2] < _OTHER_KIND)
    return replace(own, name=QUANTILE if is_fleet else PER_SERVER, low=low, high=high)


def _quantiles(values: Float64s, shares: Sequence[float]) -> list[float]:
    return [float(value) for value in np.quantile(values, shares)]
