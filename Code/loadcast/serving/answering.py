"""Forecasts of hours to come behind the gate that `loadcast monitor` has left in a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadcast import schema
from loadcast.artefacts.gate import GateBand, GateFile
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, ConfigError
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.gate import Answers, Gate, gated
from loadcast.kernels.gated_scores import BANDS
from loadcast.kernels.grid import hours_of
from loadcast.kernels.naive_forecasts import NaiveForecasts
from loadcast.kernels.truth import HOURS_OF_WEEK, Truth
from loadcast.logs.events import MODEL, log_event
from loadcast.secrets import shown
from loadcast.serving.remote.answers import Gated, HourForecast

if TYPE_CHECKING:
    from loadcast.serving.feature_source import FeatureSource

#: What naive forecasts look back to, from the hour before the first that is forecast.
_LOOK_BACK_H = 30 * 24
_SHOWN = 100
_NO_HOUR = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class LetThrough:
    """What comes through a gate of n hours: classes 1 to 3, (n,), probabilities, (n, 3), and which forecast answers."""

    labels: Int64s
    probabilities: Float64s
    answered_by: list[str]


@dataclass(frozen=True)
class GateInUse:
    """A gate that counts for forecasts from `begin` on, of the model that `info` describes; it is checked already."""

    content: GateFile
    info: Info
    begin: datetime

    @classmethod
    def of(cls, content: GateFile, info: Info, begin: datetime) -> GateInUse | None:
        """The gate; None, with a warning in the log, where it is stale or younger than the forecast.

        Raises ArtefactError for a gate of another model, ConfigError for a feature set that looks back too shortly.
        """
        check_gate(content, info)
        what = why_ignored(content, begin)
        if what is not None:
            warn_ignored(content, begin, what)
            return None
        return cls(content, info, begin)

    def let_through(self, source: FeatureSource, labels: Int64s, probabilities: Float64s) -> LetThrough:
        """What comes through of a server's hours, which begin at `begin`; the model said (n,) and (n, 3) of them."""
        ahead = np.arange(1, len(labels) + 1)
        first = epoch_seconds(self.begin) // 3_600
        origins = np.full(len(labels), first - 1) if self._has_origins else first - 1 + ahead - schema.HORIZON_HOURS
        said = np.concatenate((labels[None], self._naive(source).said(0 * ahead, first - 1 + ahead, origins)))
        horizons = ahead if self._has_origins else np.full(len(labels), schema.HORIZON_HOURS)
        through = LetThrough(labels.copy(), probabilities.copy(), [schema.MODEL] * len(labels))
        for band in self.content.bands:
            own = np.flatnonzero((horizons >= band.horizon_hours[0]) & (horizons <= band.horizon_hours[1]))
            name = self._answered_by(band, source.server)
            answers = _gated(band, self.content.forecasts.index(name), said[:, own], probabilities[own])
            through.labels[own], through.probabilities[own] = answers.labels, answers.probabilities
            for at in own.tolist():
                through.answered_by[at] = name
        return through

    def answers(self, source: FeatureSource, hours: Sequence[HourForecast]) -> list[HourForecast]:
        """The same of answers of a service, each beside what the model said."""
        labels = np.array([hour.label for hour in hours], dtype=np.int64)
        through = self.let_through(source, labels, np.array([hour.probabilities for hour in hours]))
        decided = self.info.decision_rule.decide(through.probabilities)
        answers = []
        for at, hour in enumerate(hours):
            answer = replace(
                hour,
                label=int(through.labels[at]),
                probabilities=tuple(through.probabilities[at].tolist()),
                gated=Gated(through.answered_by[at], hour.label, hour.probabilities),
            )
            if decided.labels is not None and decided.expected_costs is not None:
                answer = replace(
                    answer, decision=int(decided.labels[at]), expected_cost=float(decided.expected_costs[at])
                )
            if decided.confident is not None:
                answer = replace(answer, confident=bool(decided.confident[at]))
            answers.append(answer)
        return answers

    @property
    def _has_origins(self) -> bool:
        return self.info.features.simulates_cutoffs

    @staticmethod
    def _answered_by(band: GateBand, server: str) -> str:
        return band.answered_by if band.answered_by != schema.MODEL else band.servers.get(server, schema.MODEL)

    def _naive(self, source: FeatureSource) -> NaiveForecasts:
        """The naive forecasts of one server, from the hours before `begin` that its statistics have."""
        # A scalar of pyarrow: of any other, pyarrow would ask pandas, which the service keeps out.
        before = pc.less(source.hourly.column(schema.HOUR), pa.scalar(self.begin, schema.TIMESTAMP))
        observed = source.hourly.filter(pc.and_(source.hourly.column(schema.OBSERVED), before))
        hours = hours_of(observed.column(schema.HOUR)) if len(observed) else _NO_HOUR
        last = epoch_seconds(self.begin) // 3_600 - 1
        start = min(int(hours.min(initial=last)), last)
        classes = np.zeros((1, last - start + 1), dtype=np.int8)
        rule, names = self.info.label_rule, [source.server]
        peaks = observed.column(schema.PEAK_LOAD).to_numpy()
        classes[0, hours - start] = rule.labels(peaks, names, np.zeros(len(hours), dtype=np.int64))
        of_nothing = rule.labels(np.zeros(1), names, np.zeros(1, dtype=np.int64)).astype(np.int8)
        usual = self.content.usual.get(source.server, "0" * HOURS_OF_WEEK)
        weekly = np.array([[int(label) for label in usual]], dtype=np.int8)
        truth = Truth({source.server: 0}, start, classes, of_nothing, weekly)
        return NaiveForecasts(truth, self.content.commonest, self._has_origins)


def _gated(band: GateBand, chosen: int, said: NDArray[Any], shares: np.ndarray) -> Answers:
    """What a band lets through of n forecasts of one server."""
    number = said.shape[1]
    nothing = np.zeros(1, dtype=np.int64)
    gate = Gate(nothing, nothing, np.zeros((1, len(said) - 1)), np.array([band.tables]), np.array([band.weights]))
    return gated(gate, np.zeros(number, dtype=np.int64), np.full(number, chosen), said, shares)


def check_served(content: GateFile, versions: Sequence[str] | None) -> None:
    """Raise ArtefactError where a service names the versions of its model, and the gate's is not among them."""
    if versions is not None and content.model not in versions:
        raise ArtefactError(
            f"The service answers with the model {shown(', '.join(versions), _SHOWN)}, and the gate is of "
            f"{content.model:.16}, wanted the same. Let the service load it: loadcast serve --watch."
        )


def why_ignored(content: GateFile, begin: datetime) -> str | None:
    """Why a gate does not count for forecasts from `begin` on, in words; None where it does."""
    origin = epoch_seconds(begin) // 3_600 - 1
    first, last = (epoch_seconds(time) // 3_600 for time in (content.newest_hour, content.valid_until))
    if first <= origin <= last:
        return None
    return "is stale" if origin > last else "knows hours after the forecast's begin"


def warn_ignored(content: GateFile, begin: datetime, what: str) -> None:
    """Log that a gate does not count; `what` is of why_ignored."""
    log_event(
        MODEL,
        logging.WARNING,
        "gate",
        f"The gate {what}, and does not count: the model answers.",
        newest_hour=str(content.newest_hour),
        valid_until=str(content.valid_until),
        begin=str(begin),
    )


def check_gate(content: GateFile, info: Info) -> None:
    """Raise ArtefactError for a gate of another model, or of other forecasts or bands than this loadcast has.

    Raises ConfigError for a feature set that looks back too shortly.
    """
    if content.model != info.model_version:
        raise ArtefactError(
            f"The gate is of the model {content.model:.16} of the run {content.model_run:.40}, wanted one of the model "
            f"in use, {info.model_version}. {GateFile.REMEDY}"
        )
    check_gateable(info)
    nobody = Truth({}, 0, np.zeros((0, 1), np.int8), np.zeros(0, np.int8), np.zeros((0, HOURS_OF_WEEK), np.int8))
    names = NaiveForecasts(nobody, content.commonest, info.features.simulates_cutoffs).names
    bands = [band.horizon_hours for band in content.bands]
    if content.forecasts != [schema.MODEL, *names] or len(set(bands)) < len(bands) or not set(bands) <= set(BANDS):
        raise ArtefactError(
            f"The gate is of other naive forecasts or hours ahead than this loadcast has. {GateFile.REMEDY}"
        )


def check_gateable(info: Info) -> None:
    """Raise ConfigError for a model that no gate fits: its feature set looks back too shortly."""
    if info.features.look_back_h < _LOOK_BACK_H:
        raise ConfigError(
            f"featureSet: {info.feature_set.name} looks back {info.features.look_back_h} hours, wanted "
            f"{_LOOK_BACK_H} or more to ask naive forecasts. Forecast without a gate."
        )
