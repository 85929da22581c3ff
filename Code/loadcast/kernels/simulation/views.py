"""The cutoffs that are simulated, forwards and backwards, and the bounds by which the days after each are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.drift import stability_index
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import ABSOLUTE, FLEET, OWN_BOUNDS_H, PER_SERVER, QUANTILE, SERVER, Bounds, LabelRule
from loadcast.kernels.simulation.backwards import span_of
from loadcast.kernels.simulation.sketch import Peaks, Sketch

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
#: Above this population stability index of the classes before and after a cutoff, a fleet is one that has moved; it is
#: the usual limit of what is called a major change.
_MOVED = 0.25


@dataclass(frozen=True)
class View:
    """Training rows are of the hours from `begin` to before `end`, seen by bounds that are of what lies before `begin`.

    `name` is the rule's; `low` and `high` are quantiles, for servers' own bounds; `common` has the others. `number`
    makes its draws its own. Where it `is_backwards`, all of that is of the weeks in the opposite order (backwards.py).
    """

    number: int
    begin: int
    end: int
    name: str
    low: float
    high: float
    common: Bounds
    is_backwards: bool = False

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


def views(sketch: Sketch, begin: int, asked: View, seed: int) -> list[View]:
    """All views of all cutoffs: for each that of `asked`, and PLACEMENTS of other bounds, drawn around its quantiles.

    Of a fleet that has moved, cutoffs with room for it have as many backwards, behind all others. The sketch ends where
    the test period begins; `begin` is the first hour of the training period. `asked` is the configured rule: of
    ABSOLUTE its bounds count, of others its quantiles. Where no hour was observed on the side of a cutoff that is
    known, there is no view.
    """
    random, found = np.random.default_rng(seed), list[View]()
    *simulated, split = sketch.cutoffs or (begin,)
    for cutoff in simulated:
        own = replace(asked, begin=cutoff, end=min(cutoff + SPAN_H, split))
        found += _seen(own, sketch.before(cutoff), random.random((PLACEMENTS, 3)), len(found))
    spans = {cutoff: span_of(cutoff, begin, split, SPAN_H) for cutoff in simulated}
    turned = [cutoff for cutoff, span in spans.items() if span]
    for cutoff in turned if _has_moved(sketch, turned, asked) else ():
        own = replace(asked, begin=cutoff, end=cutoff + spans[cutoff], is_backwards=True)
        found += _seen(own, sketch.since(cutoff), random.random((PLACEMENTS, 3)), len(found))
    return found


def _has_moved(sketch: Sketch, cutoffs: Sequence[int], asked: View) -> bool:
    """Whether hours after the middle one of some cutoffs are of other classes, by quantiles of those before it."""
    if not cutoffs:
        return False
    middle = cutoffs[len(cutoffs) // 2]
    before, after = sketch.before(middle), sketch.since(middle)
    if not before.total:
        return False
    bounds = before.quantile(asked.low), before.quantile(asked.high)
    index = stability_index(before.classes(*bounds), after.classes(*bounds))
    return index is not None and index > _MOVED


def _seen(own: View, peaks: Peaks, drawn: Float64s, number: int) -> list[View]:
    """The views of one cutoff, of which `peaks` are known: by the configured rule, and by others; counted on."""
    if not peaks.total:
        return []
    if own.name == ABSOLUTE:
        own = replace(own, low=peaks.share(own.common.low), high=peaks.share(own.common.high))
    plans = [own, *(_placed(own, one) for one in drawn)]
    fleet = [Bounds(peaks.quantile(plan.low), peaks.quantile(plan.high), FLEET) for plan in plans]
    return [
        replace(plan, common=plan.common if plan.name == ABSOLUTE else bounds, number=number + at)
        for at, (plan, bounds) in enumerate(zip(plans, fleet, strict=True))
    ]


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
