"""What bounds of classes are learned from: the peaks of hours that ended by the test period's start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.grid import Grid
from loadcast.kernels.labels import OWN_BOUNDS_H, PER_SERVER, LabelQuantiles, LabelRule
from loadcast.kernels.quantiles import ROOT, count_prefixes, quantiles

#: How many peaks begin with which bits: see kernels.quantiles.
Counts = Counter[int]


@dataclass(frozen=True)
class LabelHistory:
    """Of some servers: both quantiles of those that have bounds of their own, and counts of all peaks' first bits."""

    own: dict[str, list[float]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counter)

    def as_json(self) -> str:
        """One JSON text, for LabelHistory.from_json."""
        return json.dumps({"own": self.own, "counts": list(self.counts.items())}, separators=(",", ":"))

    @classmethod
    def from_json(cls, texts: Iterable[str]) -> LabelHistory:
        """The history of all servers of several texts, in any order; each server stands in one of them."""
        whole = cls()
        for text in texts:
            part = json.loads(text)
            whole.own.update(part["own"])
            whole.counts.update(dict(part["counts"]))
        return whole


def history_of(grid: Grid, asked: LabelQuantiles) -> LabelHistory:
    """The history of the servers of a grid."""
    peaks = [known_peaks(grid, server, asked) for server in range(len(grid.servers))]
    own = dict(zip(grid.servers, peaks, strict=True)) if asked.name == PER_SERVER else {}
    old_enough = {
        server: [float(bound) for bound in np.quantile(values, (asked.low, asked.high))]
        for server, values in own.items()
        if len(values) >= OWN_BOUNDS_H
    }
    return LabelHistory(old_enough, count_prefixes(np.concatenate([np.zeros(0), *peaks]), 1, ROOT))


def known_peaks(grid: Grid, server: int, asked: LabelQuantiles) -> Float64s:
    """The observed hourly peaks of one server of a grid that bounds may be learned from."""
    slots = slice(int(grid.day_begins[server]) * 24, int(grid.day_begins[server] + grid.days[server]) * 24)
    known = grid.observed[slots] & (grid.hours[slots] < asked.until_hour)
    peaks: Float64s = grid.peaks[0, slots][known]
    return peaks


def learned_rule(grids: Iterable[Grid], asked: LabelQuantiles) -> LabelRule:
    """The rule that the servers of some grids teach, in this process. Raises InputError where no hour was observed."""
    own: dict[str, list[float]] = {}
    fleet = [np.zeros(0)]
    for grid in grids:
        own |= history_of(grid, asked).own
        fleet += [known_peaks(grid, server, asked) for server in range(len(grid.servers))]
    return asked.rule(quantiles(partial(count_prefixes, np.concatenate(fleet)), (asked.low, asked.high)), own)
