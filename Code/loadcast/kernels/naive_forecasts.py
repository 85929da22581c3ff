"""What naive forecasts said of hours, from the classes of the hours that they knew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadcast import schema
from loadcast.kernels.buckets import Int64s
from loadcast.kernels.evaluation import MOST_FREQUENT
from loadcast.kernels.naive import (
    HOUR_OF_WEEK,
    LAST_CLASS,
    NAIVE_COLUMNS,
    NEWEST_DAY,
    NEWEST_DAYS,
    SAME_AS_48H,
    SAME_AS_168H,
    SAME_HOUR,
)
from loadcast.kernels.same_hour import most_counted
from loadcast.kernels.tally import ANSWERS, MODEL
from loadcast.kernels.truth import Classes, Truth

_KNOWN_DAYS = schema.HORIZON_HOURS // 24
_N = len(schema.CLASS_NAMES)


@dataclass(frozen=True, eq=False)
class NaiveForecasts:
    """The naive forecasts beside a model's.

    `has_origins` says that each forecast has an origin of its own, up to which naive forecasts know the hours, too, as
    kernels/naive.py has it; else all know what is 48 hours old. `commonest` is the commonest class of the training,
    and the answer where there is none.
    """

    truth: Truth
    commonest: int
    has_origins: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, as metrics.json has them."""
        own = NAIVE_COLUMNS if self.has_origins else tuple(name for name in ANSWERS if name != MODEL)
        return (*own, MOST_FREQUENT)

    def said(self, servers: Int64s, hours: Int64s, origins: Int64s) -> Classes:
        """Their classes, (names, n), of servers and hours from origins, (n,)."""
        found = {
            MOST_FREQUENT: np.full(len(hours), self.commonest, dtype=np.int8),
            HOUR_OF_WEEK: self.truth.usual_at(servers, hours),
            SAME_AS_48H: self._before(servers, hours, 48),
            SAME_AS_168H: self._before(servers, hours, 168),
        }
        found |= self._same_hour(servers, hours, np.full(len(hours), _KNOWN_DAYS), SAME_HOUR)
        if self.has_origins:
            days = (hours - origins + 23) // 24
            found[LAST_CLASS] = self.truth.last_at(servers, origins)
            found[NEWEST_DAY] = self.truth.at(servers, hours - 24 * days)
            found |= self._same_hour(servers, hours, days, NEWEST_DAYS)
        classes = np.stack([found[name] for name in self.names])
        return np.where(classes > 0, classes, self.commonest).astype(np.int8)

    def _before(self, servers: Int64s, hours: Int64s, lag_h: int) -> Classes:
        """The class some hours before; where nothing was observed, a lag feature of 0 has the class of no load."""
        classes = self.truth.at(servers, hours - lag_h)
        return classes if self.has_origins else np.where(classes > 0, classes, self.truth.of_nothing[servers])

    def _same_hour(
        self, servers: Int64s, hours: Int64s, first_days: Int64s, windows: dict[str, int]
    ) -> dict[str, Classes]:
        """The commonest class of the same hour over some days, from `first_days` before on, the lower of equals."""
        often = np.zeros((_N, len(hours)), dtype=np.int8)
        found, names = {}, {days: name for name, days in windows.items()}
        labels = np.arange(1, _N + 1, dtype=np.int8)[:, None]
        for day in range(max(windows.values())):
            often += self.truth.at(servers, hours - 24 * (first_days + day)) == labels
            if day + 1 in names:
                found[names[day + 1]] = most_counted(often)
        return found
