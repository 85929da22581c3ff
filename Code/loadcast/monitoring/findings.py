"""What `loadcast monitor` finds: numbers, a verdict, and both as a document."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.artefacts.gate import VALID_H, GateBand, GateFile
from loadcast.kernels.gate import Gate
from loadcast.kernels.gated_scores import Band, gated_report
from loadcast.kernels.scores import scores
from loadcast.monitoring.scoring import Known, Scored, best_of, losses_of_naive

FORMAT_VERSION = 1
#: PSI above which the classes, or a feature, have drifted; measured in Docs/MONITORING.md. Features of loads move from
#: week to week where classes stay as they are.
CLASSES_DRIFTED = 0.25
FEATURE_DRIFTED = 1.0
_EPOCH = datetime(1970, 1, 1)


class Verdict(enum.Enum):
    """What there is to do, with the command's exit code."""

    FINE = ("fine", 0)
    NAIVE_IS_BETTER = ("naiveIsBetter", 12)
    DRIFT = ("drift", 13)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that found this."""
        return self.value[1]


@dataclass(frozen=True)
class Window:
    """Hours since 1970 on the clock of `timezone`: from `since` to `newest` forecasts are scored; before `split` the
    model was trained.
    """

    since: int
    newest: int
    split: int
    timezone: str = "UTC"

    @staticmethod
    def text(hour: int) -> str:
        """The hour as times are written."""
        return (_EPOCH + timedelta(hours=hour)).strftime(schema.TIME_FORMAT)

    @property
    def newest_epoch_s(self) -> float:
        """The newest hour's begin, in seconds since 1970-01-01 00:00 UTC."""
        return (_EPOCH + timedelta(hours=self.newest)).replace(tzinfo=ZoneInfo(self.timezone)).timestamp()


@dataclass(frozen=True)
class Drift:
    """PSI of the hours from `since` on against the training: by feature, of true classes, and of forecast ones.

    None where one of both has no rows.
    """

    features: dict[str, float | None]
    classes: float | None
    forecast_classes: float | None
    since: int

    @cached_property
    def drifted(self) -> list[str]:
        """The features that have drifted, the most first."""
        found = {name: value for name, value in self.features.items() if value is not None and value > FEATURE_DRIFTED}
        return sorted(found, key=lambda name: -found[name])

    @property
    def classes_drifted(self) -> bool:
        """Whether the true classes have other shares."""
        return self.classes is not None and self.classes > CLASSES_DRIFTED

    @property
    def features_drifted(self) -> bool:
        """Whether most of the features that ever change have: some do so now and then."""
        changing = sum(1 for value in self.features.values() if value)
        return 2 * len(self.drifted) > changing


@dataclass(frozen=True, eq=False)
class Findings:
    """`runs` are the names of the model's run and of the newest; the rest is what modules beside this one describe.

    `model_version` is Info.model_version.
    """

    output: str
    runs: tuple[str, str]
    window: Window
    known: Known
    scored: Scored
    drift: Drift
    model_version: str

    @cached_property
    def verdict(self) -> Verdict:
        """A naive forecast that answers for all servers, or naive ones for most of them, come before drift."""
        of_all = any(gate.chosen[-1] for _, gate, _ in self.scored.bands)
        of_most = any(2 * np.count_nonzero(choices) > len(choices) for _, _, choices in self.scored.bands)
        if of_all or of_most:
            return Verdict.NAIVE_IS_BETTER
        return Verdict.DRIFT if self.drift.classes_drifted or self.drift.features_drifted else Verdict.FINE

    @cached_property
    def best_naive(self) -> str:
        """The naive forecast that was right most often."""
        return best_of(self.scored.confusion[1:], self.known.naive.names)

    def document(self) -> dict[str, Any]:
        """All of it as plain values, as `--json` prints it; Docs/MONITORING.md describes them."""
        rows, window = self.scored.rows, self.window
        hours = self.scored.hours
        return {
            "formatVersion": FORMAT_VERSION,
            "verdict": self.verdict.value[0],
            "output": self.output,
            "modelRun": self.runs[0],
            "statisticsRun": self.runs[1],
            "newestHour": window.text(window.newest),
            "forecasts": {
                "read": rows.read,
                "scored": rows.scored,
                "pending": rows.pending,
                "notObserved": rows.not_observed,
                "older": rows.older,
                "ofUnknownServers": rows.of_unknown_servers,
                "unknownServers": sorted(rows.unknown_servers),
                "from": None if hours is None else window.text(hours[0]),
                "to": None if hours is None else window.text(hours[1]),
            },
            "overall": self.overall(),
            "now": [self._now(band) for band in range(len(self.scored.bands))],
            "servers": self.servers(),
            "drift": self._drift_document(),
        }

    def overall(self) -> dict[str, Any]:
        """Scores of the model, of what the gate lets through, and of each naive forecast."""
        scored = self.scored
        n = max(scored.rows.scored, 1)
        losses = losses_of_naive(scored.confusion[1:], self.known.prior)
        naive = {
            name: _brief(matrix, loss / n)
            for name, matrix, loss in zip(self.known.naive.names, scored.confusion[1:], losses.tolist(), strict=True)
        }
        gated = gated_report(scored.gated, self.known.forecasts)
        model = _brief(scored.confusion[0], float(scored.loss_by_server.sum()) / n)
        return {
            "rows": scored.rows.scored,
            "model": model,
            "gated": gated,
            "naive": naive,
            "bestNaive": self.best_naive,
        }

    def gate_file(self) -> GateFile:
        """What comes through the gate as of the newest hour, for forecasts of the next VALID_H hours."""
        naive, truth = self.known.naive, self.known.truth
        names = list(truth.numbers)
        usual = {name: "".join(map(str, truth.usual[row].tolist())) for name, row in truth.numbers.items()}
        return GateFile(
            model_run=self.runs[0],
            model=self.model_version,
            timezone=self.window.timezone,
            newest_hour=_EPOCH + timedelta(hours=self.window.newest),
            valid_until=_EPOCH + timedelta(hours=self.window.newest + VALID_H),
            commonest=naive.commonest,
            forecasts=list(self.known.forecasts),
            bands=[self._band(names, *band) for band in self.scored.bands],
            usual=dict(sorted(usual.items())),
        )

    def _band(self, names: list[str], band: Band, gate: Gate, choices: NDArray[np.int8]) -> GateBand:
        forecasts, of_all = self.known.forecasts, int(gate.chosen[-1])
        own = {} if of_all else {names[row]: forecasts[choices[row]] for row in np.flatnonzero(choices)}
        return GateBand(
            horizon_hours=band,
            answered_by=forecasts[of_all],
            servers=dict(sorted(own.items())),
            weights=gate.weights[-1].tolist(),
            tables=gate.tables[-1].tolist(),
        )

    def _now(self, number: int) -> dict[str, Any]:
        band, gate, choices = self.scored.bands[number]
        names, forecasts = list(self.known.truth.numbers), self.known.forecasts
        servers = {names[row]: forecasts[choices[row]] for row in np.flatnonzero(choices)}
        return {
            "horizonHours": list(band),
            "answeredBy": forecasts[int(gate.chosen[-1])],
            "serversAnsweredByNaive": dict(sorted(servers.items())),
        }

    @cached_property
    def _server_rows(self) -> NDArray[np.intp]:
        """The servers with forecasts that were scored, the worst against their best naive forecast first."""
        hits = np.trace(self.scored.by_server, axis1=2, axis2=3)
        rows = np.flatnonzero(self.scored.by_server[:, 0].any(axis=(1, 2)))
        lead = (hits[rows, 1:].max(axis=1) - hits[rows, 0]) / self.scored.by_server[rows, 0].sum(axis=(1, 2))
        return rows[np.argsort(-lead, kind="stable")]

    def servers(self) -> list[dict[str, Any]]:
        """Each server's scores, beside its own best naive forecast's; the one that loses most first."""
        names, scored, forecasts = list(self.known.truth.numbers), self.scored, self.known.forecasts
        found = []
        for row in self._server_rows:
            matrices = scored.by_server[row]
            n = int(matrices[0].sum())
            best = best_of(matrices[1:], forecasts[1:])
            found.append(
                {
                    schema.SERVER: names[row],
                    "rows": n,
                    "model": _brief(matrices[0], float(scored.loss_by_server[row]) / n),
                    "gated": {"accuracy": int(scored.gated_hits[row]) / n},
                    "bestNaive": best,
                    "bestNaiveAccuracy": float(np.trace(matrices[forecasts.index(best)])) / n,
                    "answeredBy": sorted({forecasts[choices[row]] for _, _, choices in scored.bands}),
                }
            )
        return found

    def _drift_document(self) -> dict[str, Any]:
        drift = self.drift
        return {
            "since": self.window.text(drift.since),
            "classesThreshold": CLASSES_DRIFTED,
            "featureThreshold": FEATURE_DRIFTED,
            "classes": drift.classes,
            "forecastClasses": drift.forecast_classes,
            "features": drift.features,
            "drifted": drift.drifted,
        }


def _brief(matrix: NDArray[np.int64], loss: float) -> dict[str, Any]:
    known = scores(matrix)
    return {"accuracy": known["accuracy"], "macroF1": known["macroF1"], "logLoss": float(f"{loss:.12g}")}
