"""Past forecasts against the truth: what the model, the naive forecasts and the gate were right about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.gate import RULE, Gate, GateRule
from loadcast.kernels.gated_scores import (
    BANDS,
    EVIDENCE_H,
    Band,
    Evidence,
    GatedTally,
    Outcomes,
    ServerRecords,
    let_through,
)
from loadcast.kernels.naive_forecasts import NaiveForecasts
from loadcast.kernels.scores import log_losses
from loadcast.kernels.tally import MODEL
from loadcast.kernels.truth import Truth
from loadcast.monitoring.forecast_files import Forecasts

_N = len(schema.CLASS_NAMES)
_SHOWN = 5
#: Opens the forecasts anew: they are read twice, and never in memory as a whole.
Source = Callable[[], Iterable[Forecasts]]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known besides: the truth, from which hour on it is scored, and how each naive forecast fared in training.

    `prior` is gate.prior_tables of the training rows.
    """

    naive: NaiveForecasts
    since: int
    prior: Float64s

    @property
    def truth(self) -> Truth:
        """What came of the hours."""
        return self.naive.truth

    @property
    def forecasts(self) -> tuple[str, ...]:
        """The names of all J forecasts, the model's first."""
        return (MODEL, *self.naive.names)


@dataclass
class Rows:
    """How many forecasts were read, and what became of them; some of the servers that have no statistics."""

    read: int = 0
    scored: int = 0
    pending: int = 0
    not_observed: int = 0
    older: int = 0
    of_unknown_servers: int = 0
    unknown_servers: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class Scored:
    """The outcome, of J forecasts, the model first, and s servers.

    `by_server`, (s, J, 3, 3), has the true class in rows, and `loss_by_server`, (s,), minus the sums of the logarithms
    of the true class's probability. `gated_hits`, (s,), is how many forecasts were right behind the gate. `bands` has
    each band's gate, at last of the newest hour, and what answers for each server then, (s,).
    """

    rows: Rows
    hours: tuple[int, int] | None
    by_server: Int64s
    loss_by_server: Float64s
    gated: GatedTally
    gated_hits: Int64s
    bands: list[tuple[Band, Gate, NDArray[np.int8]]]

    @property
    def confusion(self) -> Int64s:
        """Of all servers, (J, 3, 3)."""
        total: Int64s = self.by_server.sum(axis=0)
        return total


def score_forecasts(source: Source, known: Known, rule: GateRule = RULE) -> Scored:
    """Score forecasts of hours whose truth is known, behind a gate of this rule; `source` is asked for them twice."""
    servers, first = len(known.truth.numbers), _FirstPass(known)
    for forecasts in source():
        first.add(forecasts)
    gates, choices = first.gates(rule)
    number = len(known.forecasts)
    tally, hits = GatedTally.none(number), np.zeros(servers, dtype=np.int64)
    for forecasts in source():
        outcomes = _outcomes(forecasts, known)
        more, labels = let_through(outcomes, gates, choices)
        tally = tally.plus(more)
        hits += np.bincount(outcomes.servers[labels == outcomes.truth], minlength=servers)
    return Scored(
        rows=first.rows,
        hours=first.hours,
        by_server=first.confusion.reshape(servers, number, _N, _N),
        loss_by_server=first.loss,
        gated=tally,
        gated_hits=hits,
        bands=[(band, gate, choices[band][:, -1]) for band, gate in gates.items()],
    )


def losses_of_naive(confusion: Int64s, prior: Float64s) -> Float64s:
    """Each naive forecast's loss, (J − 1,), where its probabilities are those of its class in training."""
    losses: Float64s = -(confusion * np.log(prior)).sum(axis=(1, 2))
    return losses


def best_of(confusion: Int64s, names: Sequence[str]) -> str:
    """The naive forecast that was right most often, the first of equals; of confusion, (J − 1, 3, 3)."""
    return names[int(np.trace(confusion, axis1=1, axis2=2).argmax())]


def _outcomes(forecasts: Forecasts, known: Known, rows: Rows | None = None) -> Outcomes:
    """The forecasts that can be scored; `rows` counts what becomes of all."""
    truth, hours = known.truth, forecasts.hours
    numbers = np.array([truth.numbers.get(name, -1) for name in forecasts.servers], dtype=np.int64)
    servers = numbers[forecasts.codes] if len(numbers) else np.zeros(0, dtype=np.int64)
    named = servers >= 0
    inside = named & (hours >= known.since) & (hours <= truth.last)
    classes = np.zeros(len(hours), dtype=np.int64)
    classes[inside] = truth.at(servers[inside], hours[inside])
    kept = classes > 0
    if rows is not None:
        rows.read += len(forecasts)
        rows.scored += int(kept.sum())
        rows.pending += int((named & (hours > truth.last)).sum())
        rows.older += int((named & (hours < known.since)).sum())
        rows.not_observed += int((inside & ~kept).sum())
        rows.of_unknown_servers += int((~named).sum())
        unknown = (name for name in forecasts.servers if name not in truth.numbers)
        rows.unknown_servers.update(islice(unknown, _SHOWN - len(rows.unknown_servers)))
    servers, hours, origins = servers[kept], hours[kept], forecasts.origins[kept]
    said = np.concatenate((forecasts.labels[kept][None], known.naive.said(servers, hours, origins)))
    return Outcomes(servers, hours, origins, classes[kept], said, forecasts.probabilities[kept])


class _FirstPass:
    """Adds up scores by server, and what the gate knows."""

    def __init__(self, known: Known) -> None:
        servers, span = len(known.truth.numbers), (known.since, known.truth.last)
        self._known, self.rows, self._number = known, Rows(), len(known.forecasts)
        self.hours: tuple[int, int] | None = None
        self.confusion = np.zeros(servers * self._number * _N * _N, dtype=np.int64)
        self.loss = np.zeros(servers)
        self._evidence, self._records = Evidence(self._number), ServerRecords(servers, span, self._number)

    def add(self, forecasts: Forecasts) -> None:
        outcomes = _outcomes(forecasts, self._known, self.rows)
        if not len(outcomes):
            return
        first, last = self.hours or (int(outcomes.hours[0]), int(outcomes.hours[0]))
        self.hours = min(first, int(outcomes.hours.min())), max(last, int(outcomes.hours.max()))
        tables = (outcomes.servers * self._number + np.arange(self._number)[:, None]) * _N * _N
        cells = tables + (outcomes.truth - 1) * _N + outcomes.said - 1
        self.confusion += np.bincount(cells.ravel(), minlength=len(self.confusion))
        losses = log_losses(outcomes.probabilities, outcomes.truth)
        self.loss += np.bincount(outcomes.servers, losses, minlength=len(self.loss))
        self._evidence.add(outcomes)
        self._records.add(outcomes)

    def gates(self, rule: GateRule) -> tuple[dict[Band, Gate], dict[Band, NDArray[np.int8]]]:
        """Each band's gate, and what answers for each server at its origins, (s, o)."""
        if self.hours is None:
            return {}, {}
        truth, naive = self._known.truth, self._known.naive
        horizons = [last for _, last in BANDS] if naive.has_origins else [schema.HORIZON_HOURS]
        for hour in range(max(self.hours[0] - EVIDENCE_H, truth.first), self.hours[0]):
            classes = truth.classes[:, hour - truth.first]
            servers = np.flatnonzero(classes)
            hours = np.full(len(servers), hour)
            for horizon in horizons:
                said = naive.said(servers, hours, hours - horizon)
                self._evidence.add_before(hours - horizon, hours, classes[servers], said)
        gates = self._evidence.gates(self._known.prior, self.hours[0], truth.last, rule)
        return gates, self._records.choices(gates, rule)
