"""What past forecasts score behind the gate, in two passes over them: what is known, then what was let through.

Both passes take arrays, portion by portion, and add up over files. The first says of all servers what answers at each
origin; a server's own record, which may say otherwise, stays where its rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.gate import RULE, Gate, GateRule, choices_of_servers, gate_at, gated
from loadcast.kernels.scores import log_losses, scores
from loadcast.kernels.verified import Verified

Band = tuple[int, int]
#: Forecasts of hours so far ahead are gated together: the first and the last horizon in hours.
BANDS: tuple[Band, ...] = ((1, 6), (7, 24), (25, schema.HORIZON_HOURS))
#: Hours before the first test hour of which naive forecasts are wanted: what the first origin's tables are made of.
EVIDENCE_H = schema.HORIZON_HOURS + RULE.table_h
_N = len(schema.CLASS_NAMES)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """n forecasts of which the truth is known.

    `servers` are numbers from 0; `hours` and `origins` are since 1970; `truth` is 1 to 3, all (n,). `said`, (J, n), are
    the classes of all forecasts, the model's first; `probabilities`, (n, 3), are the model's.
    """

    servers: Int64s
    hours: Int64s
    origins: Int64s
    truth: Int64s
    said: NDArray[Any]
    probabilities: Float64s

    def __len__(self) -> int:
        return len(self.hours)

    def answered(self, commonest: int) -> Outcomes:
        """The same where naive forecasts without an answer say the commonest class."""
        said = np.where(self.said > 0, self.said, commonest)
        return Outcomes(self.servers, self.hours, self.origins, self.truth, said, self.probabilities)

    def of_band(self, band: Band) -> Outcomes:
        """Those of such horizons."""
        horizons = self.hours - self.origins
        return self.chosen((horizons >= band[0]) & (horizons <= band[1]))

    def chosen(self, kept: NDArray[Any]) -> Outcomes:
        """Some of them: a mask."""
        rest = (self.servers[kept], self.hours[kept], self.origins[kept], self.truth[kept])
        return Outcomes(*rest, self.said[:, kept], self.probabilities[kept])


def no_outcomes(forecasts: int) -> Outcomes:
    """None."""
    nothing = np.zeros(0, dtype=np.int64)
    return Outcomes(nothing, nothing, nothing, nothing, np.zeros((forecasts, 0), dtype=np.int8), np.zeros((0, _N)))


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """All of them, one after the other."""
    return Outcomes(
        np.concatenate([part.servers for part in parts]),
        np.concatenate([part.hours for part in parts]),
        np.concatenate([part.origins for part in parts]),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.said for part in parts], axis=1),
        np.concatenate([part.probabilities for part in parts]),
    )


class Evidence:
    """The first pass: what is known of all servers' forecasts. Those of some files add up."""

    def __init__(self, forecasts: int) -> None:
        self._forecasts = forecasts
        self._verified = {band: Verified.none(forecasts) for band in BANDS}
        self._before = {band: Verified.none(forecasts) for band in BANDS}

    @property
    def bands(self) -> list[Band]:
        """The bands of which there are forecasts."""
        return [band for band in BANDS if len(self._verified[band].hours)]

    def add(self, outcomes: Outcomes) -> None:
        """Add forecasts of hours that the model was not trained on."""
        for band in BANDS:
            own = outcomes.of_band(band)
            if len(own):
                likelihood = own.probabilities[np.arange(len(own)), own.truth - 1]
                more = Verified.of(own.origins, own.hours, own.truth, own.said, likelihood)
                self._verified[band] = self._verified[band].plus(more)

    @classmethod
    def of(cls, before: Outcomes, test: Outcomes) -> Evidence:
        """What rows say: those of hours before the first that the model was not trained on, and those from it on."""
        known = cls(len(test.said))
        known.add_before(before.origins, before.hours, before.truth, before.said[1:])
        known.add(test)
        return known

    def add_before(self, origins: Int64s, hours: Int64s, truth: NDArray[Any], said: NDArray[Any]) -> None:
        """Add what naive forecasts said, (J − 1, n), of hours before the first that the model was not trained on.

        Wanted are those of the last EVIDENCE_H hours; older ones do no harm.
        """
        of_all = np.concatenate((np.zeros((1, len(hours)), dtype=np.int8), said))
        for band in BANDS:
            own = (hours - origins >= band[0]) & (hours - origins <= band[1])
            if own.any():
                more = Verified.of(origins[own], hours[own], truth[own], of_all[:, own], np.ones(int(own.sum())))
                self._before[band] = self._before[band].plus(more)

    def gates(
        self, prior: Float64s, first_hour: int, newest: int | None = None, rule: GateRule = RULE
    ) -> dict[Band, Gate]:
        """Each band's gate at the origins of its forecasts, and at the hour `newest`.

        `prior` is gate.prior_tables of the training, `first_hour` the first that the model was not trained on.
        """
        extra = np.array([] if newest is None else [newest], dtype=np.int64)
        gates = {}
        for band in self.bands:
            own = self._verified[band]
            origins = np.concatenate((own.origins, extra))
            gates[band] = gate_at(origins, self._before[band].plus(own), prior, first_hour, rule)
        return gates

    def answered(self, commonest: int) -> Evidence:
        """The same where naive forecasts without an answer say the commonest class."""
        known = Evidence(self._forecasts)
        known._verified = {band: own.answered(commonest) for band, own in self._verified.items()}
        known._before = {band: own.answered(commonest) for band, own in self._before.items()}
        return known

    def plus(self, other: Evidence) -> Evidence:
        """What both know."""
        both = Evidence(self._forecasts)
        both._verified = {band: own.plus(other._verified[band]) for band, own in self._verified.items()}
        both._before = {band: own.plus(other._before[band]) for band, own in self._before.items()}
        return both

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values; from_json reads them."""
        verified, before = ([part[band].as_json() for band in BANDS] for part in (self._verified, self._before))
        return {"forecasts": self._forecasts, "verified": verified, "before": before}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evidence:
        """What as_json gave."""
        number = content["forecasts"]
        known = cls(number)
        known._verified, known._before = (
            {band: Verified.from_json(part, number) for band, part in zip(BANDS, content[key], strict=True)}
            for key in ("verified", "before")
        )
        return known


class ServerRecords:
    """The first pass, too: by how much naive forecasts lead on each of s servers, by hour. It does not add up.

    Memory: 2 bytes for each server, hour from `first` to `last`, forecast, and band that there is.
    """

    def __init__(self, servers: int, hours: tuple[int, int], forecasts: int) -> None:
        self._first = hours[0]
        self._shape = (servers, hours[1] - hours[0] + 1, forecasts)
        self._leads: dict[Band, NDArray[np.int16]] = {}

    def add(self, outcomes: Outcomes) -> None:
        """Add forecasts of hours from `first` to `last`, all with an answer."""
        for band in BANDS:
            own = outcomes.of_band(band)
            if len(own):
                leads = self._leads.setdefault(band, np.zeros(self._shape, dtype=np.int16))
                hits = (own.said == own.truth).astype(np.int16)
                one = np.ones((1, len(own)), dtype=np.int16)
                np.add.at(leads, (own.servers, own.hours - self._first), np.concatenate((one, hits[1:] - hits[0])).T)

    def choices(self, gates: Mapping[Band, Gate], rule: GateRule = RULE) -> dict[Band, NDArray[np.int8]]:
        """What answers for each server at each origin of the band's gate, (s, o): the number of a forecast."""
        return {band: self._choices_of(band, gate, rule) for band, gate in gates.items()}

    def _choices_of(self, band: Band, gate: Gate, rule: GateRule) -> NDArray[np.int8]:
        servers, hours, forecasts = self._shape
        ends = np.clip(gate.origins + 1 - self._first, 0, hours)
        begins, lately = (np.clip(ends - window_h, 0, hours) for window_h in (rule.server_window_h, rule.window_h))
        choices = np.zeros((servers, len(gate.origins)), dtype=np.int8)
        leads = self._leads.get(band, np.zeros((0, hours, forecasts), dtype=np.int16))
        for server, own in enumerate(leads):
            total = np.zeros((hours + 1, forecasts), dtype=np.int64)
            np.cumsum(own, axis=0, out=total[1:])
            within, recent = ((total[ends] - total[start])[None] for start in (begins, lately))
            choices[server] = choices_of_servers(within[..., 0], within[..., 1:], recent[..., 1:], gate, rule)[0]
        return choices


@dataclass(frozen=True, eq=False)
class GatedTally:
    """The second pass: what came through the gate. Those of some files add up.

    `confusion`, (3, 3): rows the true class. `loss`: minus the sum of the logarithms of the true class's probability.
    `answered`, (J,): how many rows each forecast answered.
    """

    confusion: Int64s
    loss: float
    answered: Int64s

    @classmethod
    def none(cls, forecasts: int) -> GatedTally:
        """That of no rows."""
        return cls(np.zeros((_N, _N), dtype=np.int64), 0.0, np.zeros(forecasts, dtype=np.int64))

    def plus(self, other: GatedTally) -> GatedTally:
        """The counts of both."""
        return GatedTally(self.confusion + other.confusion, self.loss + other.loss, self.answered + other.answered)

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values; from_json reads them."""
        return {"confusion": self.confusion.tolist(), "loss": self.loss, "answered": self.answered.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> GatedTally:
        """What as_json gave."""
        confusion, answered = (np.array(content[name], dtype=np.int64) for name in ("confusion", "answered"))
        return cls(confusion, content["loss"], answered)


def let_through(
    outcomes: Outcomes, gates: Mapping[Band, Gate], choices: Mapping[Band, NDArray[np.int8]]
) -> tuple[GatedTally, Int64s]:
    """What the gates let through of forecasts, all with an answer, and each one's class, (n,), 0 without a gate."""
    tally = GatedTally.none(len(outcomes.said))
    labels = np.zeros(len(outcomes), dtype=np.int64)
    horizons = outcomes.hours - outcomes.origins
    for band, gate in gates.items():
        kept = (horizons >= band[0]) & (horizons <= band[1])
        own = outcomes.chosen(kept)
        at = np.searchsorted(gate.origins, own.origins)
        chosen = choices[band][own.servers, at]
        answers = gated(gate, at, chosen, own.said, own.probabilities)
        labels[kept] = answers.labels
        cells = np.bincount((own.truth - 1) * _N + answers.labels - 1, minlength=_N * _N)
        loss = float(log_losses(answers.probabilities, own.truth).sum())
        answered = np.bincount(chosen, minlength=len(own.said))
        more = GatedTally(cells.reshape(_N, _N), loss, answered)
        tally = tally.plus(more)
    return tally, labels


def gated_tally(outcomes: Outcomes, gates: Mapping[Band, Gate]) -> GatedTally:
    """What the gates let through of all forecasts, all with an answer, of some servers."""
    if not len(outcomes):
        return GatedTally.none(len(outcomes.said))
    span = int(outcomes.hours.min()), int(outcomes.hours.max())
    records = ServerRecords(1 + int(outcomes.servers.max()), span, len(outcomes.said))
    records.add(outcomes)
    return let_through(outcomes, gates, records.choices(gates))[0]


def gated_report(tally: GatedTally, names: Sequence[str]) -> dict[str, Any]:
    """What metrics.json says of it: scores as the model's, and which forecasts answered, by `names`, how many rows.

    `share` is that of the rows that a naive forecast answered. Without rows, all is None.
    """
    known, rows = scores(tally.confusion), int(tally.confusion.sum())
    answered = {name: number for name, number in zip(names, tally.answered.tolist(), strict=True) if number}
    return {
        "rows": rows,
        "accuracy": known["accuracy"],
        "macroF1": known["macroF1"],
        "logLoss": float(f"{tally.loss / rows:.12g}") if rows else None,
        "shareOfNaive": float(1 - tally.answered[0] / rows) if rows else None,
        "answeredBy": answered,
    }
