"""The gate, written another way: origin by origin and row by row, as Docs/MONITORING.md says it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loadcast.kernels.gate import GateRule


class Row(NamedTuple):
    """A forecast with a known truth; `said` are all forecasts' classes, 0 where there is none."""

    server: int
    origin: int
    hour: int
    truth: int
    said: tuple[int, ...]
    likelihood: float


@dataclass(frozen=True)
class Case:
    """Rows, and what is known besides: the first hour that the model was not trained on."""

    rows: Sequence[Row]
    prior: Sequence[Sequence[Sequence[float]]]
    first: int
    rule: GateRule

    def known(self, origin: int, window_h: int) -> list[Row]:
        """The model's forecasts of the hours up to the origin."""
        return [row for row in self.rows if origin - window_h < row.hour <= origin and row.hour >= self.first]

    def lead(self, rows: Sequence[Row], naive: int) -> float:
        """By how much that naive forecast was right more often than the model."""
        more = sum((row.said[naive] == row.truth) - (row.said[0] == row.truth) for row in rows)
        return more / max(len(rows), 1)

    def chosen(self, origin: int) -> int:
        """What answers for all servers."""
        rows, window_h = self.known(origin, self.rule.window_h), self.rule.window_h
        if 2 * len({row.hour for row in rows}) < window_h:
            return 0
        leads = [self.lead(rows, naive) for naive in range(1, len(self.prior) + 1)]
        best = 1 + leads.index(max(leads))
        lately = self.known(origin, self.rule.lately_h)
        is_known = 2 * len({row.hour for row in lately}) >= self.rule.lately_h
        has_recovered = is_known and self.lead(lately, best) <= 0
        return best if max(leads) > self.rule.margin and not has_recovered else 0

    def choice(self, origin: int, server: int) -> int:
        """What answers for one server."""
        if fleet := self.chosen(origin):
            return fleet
        rows = self.known(origin, self.rule.server_window_h)
        own = [row for row in rows if row.server == server]
        if 2 * len(own) < self.rule.server_window_h:
            return 0
        lately = [row for row in self.known(origin, self.rule.window_h) if row.server == server]
        leads = []
        for naive in range(1, len(self.prior) + 1):
            if self.lead(lately, naive) <= 0:
                leads.append(-1.0)
                continue
            drawn = self.lead(own, naive) * len(own) + self.lead(rows, naive) * self.rule.server_rows
            leads.append(drawn / (len(own) + self.rule.server_rows))
        return 1 + leads.index(max(leads)) if max(leads) > self.rule.server_margin else 0

    def shares(self, origin: int, naive: int, said: int) -> list[float]:
        """The probabilities of the classes where a naive forecast says one."""
        counts = [self.rule.prior_rows * self.prior[naive - 1][truth][said - 1] for truth in range(3)]
        for row in self.rows:
            if origin - self.rule.table_h < row.hour <= origin and row.said[naive] == said:
                counts[row.truth - 1] += 1
        return [count / sum(counts) for count in counts]

    def weights(self, origin: int) -> list[float]:
        """Each forecast's share in the probabilities."""
        lost = [0.0] * (len(self.prior) + 1)
        known = self.known(origin, self.rule.weight_h)
        for hour in {row.hour for row in known}:
            rows = [row for row in known if row.hour == hour]
            for row in rows:
                lost[0] -= math.log(max(row.likelihood, 1e-4)) / len(rows)
                for naive in range(1, len(lost)):
                    shares = self.shares(row.origin, naive, row.said[naive])
                    lost[naive] -= math.log(shares[row.truth - 1]) / len(rows)
        start = [self.rule.model_share] + [(1 - self.rule.model_share) / (len(lost) - 1)] * (len(lost) - 1)
        weights = [share * math.exp(min(lost) - loss) for share, loss in zip(start, lost, strict=True)]
        return [weight / sum(weights) for weight in weights]
