"""How often each forecast says what, beside the true class: what the scores are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.decisions import UNDECIDED, DecisionRule, DecisionTally
from loadcast.kernels.features.baseline import LAG_48, LAG_168
from loadcast.kernels.features.dates import DAY_OF_WEEK, HOUR_OF_DAY
from loadcast.kernels.gated_scores import EVIDENCE_H, Outcomes, no_outcomes
from loadcast.kernels.grid import hours_of
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.naive import HOUR_OF_WEEK, SAME_AS_48H, SAME_AS_168H, SAME_HOUR
from loadcast.kernels.part_scores import PartScores
from loadcast.kernels.same_hour import commonest_of_same_hour, most_counted
from loadcast.kernels.server_codes import server_codes

Counts = NDArray[np.int64]
Codes = NDArray[np.intp]

MODEL = schema.MODEL
#: Forecasts that say something of each row; those of the most frequent class may have no answer.
ANSWERS = (MODEL, SAME_AS_48H, SAME_AS_168H, *SAME_HOUR, HOUR_OF_WEEK)
#: The columns that a tally reads, besides the model's answers.
TALLIED = (
    schema.SERVER,
    schema.HOUR,
    schema.OBSERVED,
    schema.LABEL,
    *(feature.name for feature in (DAY_OF_WEEK, HOUR_OF_DAY, LAG_48, LAG_168)),
)

_N = len(schema.CLASS_NAMES)
_US_PER_HOUR = 3_600_000_000
_DAYS_OF_WEEK, _HOURS_OF_DAY = 8, 24  # days from 1


@dataclass(frozen=True, eq=False)
class PartTally:
    """Counts of the train or the test part.

    `confusion`: per name of ANSWERS (3, 4): rows the true class; columns no answer and then the answered class. `loss`:
    minus the sum of the logarithms of the true class's probability. `calibration` and `decisions` are of the
    model's answers. Of rows with an origin, `horizons` has `confusion` for each horizon from 0 on, (49, 3, 4).
    """

    confusion: Mapping[str, Counts]
    loss: float
    calibration: Calibration
    horizons: Mapping[str, Counts] = field(default_factory=dict)
    decisions: DecisionTally = field(default_factory=DecisionTally.none)

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values; from_json reads them."""
        confusion = {name: counts.tolist() for name, counts in self.confusion.items()}
        horizons = {name: counts.tolist() for name, counts in self.horizons.items()}
        made = {"calibration": self.calibration.as_json(), "decisions": self.decisions.as_json()}
        return {"confusion": confusion, "loss": self.loss, "horizons": horizons, **made}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PartTally:
        """What as_json gave."""
        counts, horizons = (
            {name: np.array(rows, dtype=np.int64) for name, rows in content[key].items()}
            for key in ("confusion", "horizons")
        )
        decisions = DecisionTally.from_json(content["decisions"])
        return cls(counts, content["loss"], Calibration.from_json(content["calibration"]), horizons, decisions)

    def plus(self, other: PartTally) -> PartTally:
        """The counts of both."""
        counts, horizons = (
            {name: mine[name] + others[name] for name in mine}
            for mine, others in ((self.confusion, other.confusion), (self.horizons, other.horizons))
        )
        calibration, decisions = self.calibration.plus(other.calibration), self.decisions.plus(other.decisions)
        return PartTally(counts, self.loss + other.loss, calibration, horizons, decisions)


def no_tally() -> PartTally:
    """The tally of no rows."""
    nothing = {name: np.zeros((_N, _N + 1), dtype=np.int64) for name in ANSWERS}
    return PartTally(nothing, 0.0, Calibration.none())


@dataclass(frozen=True, eq=False)
class _Rows:
    """What is kept of n rows, (n,) each; `answers` is (4, n): the true class, the model's, that of both lags."""

    is_test: NDArray[np.bool_]
    answers: NDArray[np.int8]
    codes: Codes
    hours: NDArray[np.int64]
    weekly_hours: Codes


class Tally:
    """Counts the observed rows of some servers: all the rows of each of them, in as many tables as there are.

    What a server's commonest classes are is known only when all its rows are: until then a few bytes of each are kept.
    """

    def __init__(self, split: Any, rule: LabelRule, decisions: DecisionRule = UNDECIDED) -> None:
        self._split, self._rule = np.datetime64(split, "us"), rule
        self._servers: dict[str, int] = {}
        self._kept: list[_Rows] = []
        self._probabilities: list[NDArray[np.float64]] = []
        self._scores = PartScores(decisions)

    @property
    def servers(self) -> list[str]:
        """The servers of which rows were added."""
        return list(self._servers)

    def add(self, rows: pa.Table, labels: Codes, probabilities: NDArray[np.float64]) -> None:
        """Add rows with the columns TALLIED and the model's answers: labels (n,) and probabilities (n, 3)."""
        observed = rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False)
        rows, labels, probabilities = rows.filter(pa.array(observed)), labels[observed], probabilities[observed]
        is_test = rows.column(schema.HOUR).to_numpy() >= self._split
        truth = rows.column(schema.LABEL).to_numpy()
        self._scores.add(is_test, truth, labels, probabilities)
        codes = server_codes(rows.column(schema.SERVER), self._servers)
        lags = (rows.column(lag.name).to_numpy() for lag in (LAG_48, LAG_168))
        answers = [truth, labels, *(self._rule.labels(lag, self.servers, codes) for lag in lags)]
        hours = hours_of(rows.column(schema.HOUR))
        self._probabilities.append(probabilities[is_test])
        self._kept.append(_Rows(is_test, np.stack(answers).astype(np.int8), codes, hours, _weekly_hours(rows, codes)))

    def parts(self) -> tuple[PartTally, PartTally]:
        """The counts of the train and the test part."""
        if not self._kept:
            return no_tally(), no_tally()
        rows, said = self._said
        truth, is_test = rows.answers[0], rows.is_test
        train, test = (
            PartTally(
                {name: _confusion(truth[part], said[name][part]) for name in ANSWERS},
                self._scores.losses[flag],
                self._scores.calibrations[flag],
                decisions=self._scores.decisions[flag],
            )
            for flag, part in enumerate((~is_test, is_test))
        )
        return train, test

    def outcomes(self) -> tuple[Outcomes, Outcomes]:
        """The rows of the last EVIDENCE_H hours of the train part, where the model says nothing, and of the test part.

        Forecasts are those of ANSWERS and, without an answer yet, the most frequent class.
        """
        if not self._kept:
            return no_outcomes(len(ANSWERS) + 1), no_outcomes(len(ANSWERS) + 1)
        rows, said = self._said
        classes = np.stack([*said.values(), np.zeros_like(rows.answers[0])])
        split = -(-self._split.astype(np.int64) // _US_PER_HOUR)
        late = ~rows.is_test & (rows.hours >= split - EVIDENCE_H)
        silent = np.concatenate((np.zeros((1, int(late.sum())), dtype=np.int8), classes[1:, late]))
        parts = (
            (late, silent, np.zeros((int(late.sum()), _N))),
            (rows.is_test, classes[:, rows.is_test], np.concatenate(self._probabilities)),
        )
        before, test = (
            Outcomes(
                rows.codes[part],
                rows.hours[part],
                rows.hours[part] - schema.HORIZON_HOURS,
                rows.answers[0][part].astype(np.int64),
                answers,
                shares,
            )
            for part, answers, shares in parts
        )
        return before, test

    @cached_property
    def _said(self) -> tuple[_Rows, dict[str, NDArray[np.int8]]]:
        """All rows, and what each of ANSWERS said of them: asked for once all are added."""
        rows = _joined(self._kept)
        truth = rows.answers[0]
        usual = _usual_classes(rows.weekly_hours, truth, ~rows.is_test)
        same_hour = commonest_of_same_hour(rows.codes, rows.hours, truth, tuple(SAME_HOUR.values()))
        return rows, dict(zip(ANSWERS, (*rows.answers[1:], *same_hour, usual), strict=True))


def _joined(parts: Sequence[_Rows]) -> _Rows:
    columns = ([getattr(part, field.name) for part in parts] for field in fields(_Rows))
    return _Rows(*(np.concatenate(arrays, axis=-1) for arrays in columns))


def _weekly_hours(rows: pa.Table, codes: Codes) -> Codes:
    """A number for each server and hour of the week."""
    day, hour = (rows.column(feature.name).to_numpy() for feature in (DAY_OF_WEEK, HOUR_OF_DAY))
    weekly_hours: Codes = (codes * _DAYS_OF_WEEK + day) * _HOURS_OF_DAY + hour
    return weekly_hours


def _usual_classes(weekly_hours: Codes, truth: NDArray[np.int8], training: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Each row's commonest class of its server and hour of the week in the training rows, the lower of equals."""
    _, group = np.unique(weekly_hours, return_inverse=True)
    size = int(group.max(initial=-1)) + 1
    cells = group[training] * _N + truth[training] - 1
    counts = np.bincount(cells, minlength=size * _N).reshape(size, _N)
    return most_counted(counts, axis=1)[group]


def _confusion(truth: NDArray[np.int8], said: NDArray[np.int8]) -> Counts:
    cells = (truth.astype(np.intp) - 1) * (_N + 1) + said
    return np.bincount(cells, minlength=_N * (_N + 1)).reshape(_N, _N + 1).astype(np.int64)
