"""The tally of rows that have an origin each: the naive forecasts stand beside them, and what counts is the horizon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.decisions import UNDECIDED, DecisionRule, DecisionTally
from loadcast.kernels.gated_scores import Outcomes, joined, no_outcomes
from loadcast.kernels.grid import hours_of
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.scores import scores
from loadcast.kernels.tally import MODEL, SMALLEST_PROBABILITY, Codes, Counts, PartTally

#: The columns that a tally reads, besides the model's answers.
TALLIED_BY_HORIZON = (
    schema.SERVER,
    schema.HOUR,
    schema.FORECAST_ORIGIN,
    schema.OBSERVED,
    schema.LABEL,
    *NAIVE_COLUMNS,
)
_N = len(schema.CLASS_NAMES)
_ANSWERS = (MODEL, *NAIVE_COLUMNS)


class HorizonTally:
    """Counts the observed rows of some servers, by the horizon that they were forecast over."""

    def __init__(self, split: Any, decisions: DecisionRule = UNDECIDED) -> None:
        self._split, self._decision_rule = np.datetime64(split, "us"), decisions
        self._servers: dict[str, int] = {}
        self._counts = np.zeros((2, len(_ANSWERS), schema.HORIZON_HOURS + 1, _N, _N + 1), dtype=np.int64)
        self._outcomes: list[Outcomes] = []
        self._losses = [0.0, 0.0]
        self._calibrations = [Calibration.none(), Calibration.none()]
        self._decisions = [DecisionTally.none(), DecisionTally.none()]

    @property
    def servers(self) -> list[str]:
        """The servers of which rows were added."""
        return list(self._servers)

    def add(self, rows: pa.Table, labels: Codes, probabilities: NDArray[np.float64]) -> None:
        """Add rows with the columns TALLIED_BY_HORIZON and the model's answers: labels (n,), probabilities (n, 3)."""
        for name in rows.column(schema.SERVER).unique().to_pylist():
            self._servers.setdefault(name, len(self._servers))
        observed = rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False)
        rows, labels, probabilities = rows.filter(pa.array(observed)), labels[observed], probabilities[observed]
        is_test = rows.column(schema.HOUR).to_numpy() >= self._split
        truth = rows.column(schema.LABEL).to_numpy()
        likelihood = np.maximum(probabilities[np.arange(len(truth)), truth - 1], SMALLEST_PROBABILITY)
        horizons = hours_of(rows.column(schema.HOUR)) - hours_of(rows.column(schema.FORECAST_ORIGIN))
        cells = (is_test * (schema.HORIZON_HOURS + 1) + horizons) * _N + truth - 1
        for number, name in enumerate(_ANSWERS):
            said = labels if name == MODEL else rows.column(name).to_numpy()
            self._counts[:, number] += _counted(cells * (_N + 1) + said)
        self._keep(rows.filter(pa.array(is_test)), labels[is_test], probabilities[is_test])
        for flag in (False, True):
            part = is_test == flag
            self._losses[flag] -= float(np.log(likelihood[part]).sum())
            calibration = Calibration.of(truth[part], labels[part], probabilities[part])
            self._calibrations[flag] = self._calibrations[flag].plus(calibration)
            decisions = DecisionTally.of(self._decision_rule, truth[part], labels[part], probabilities[part])
            self._decisions[flag] = self._decisions[flag].plus(decisions)

    def _keep(self, rows: pa.Table, labels: Codes, probabilities: NDArray[np.float64]) -> None:
        servers = np.array([self._servers[name] for name in rows.column(schema.SERVER).to_pylist()], dtype=np.int64)
        hours, origins = (hours_of(rows.column(name)) for name in (schema.HOUR, schema.FORECAST_ORIGIN))
        naive = [rows.column(name).to_numpy() for name in NAIVE_COLUMNS]
        said = np.stack([labels, *naive, np.zeros_like(labels)]).astype(np.int8)
        truth = rows.column(schema.LABEL).to_numpy().astype(np.int64)
        self._outcomes.append(Outcomes(servers, hours, origins, truth, said, probabilities))

    def outcomes(self) -> tuple[Outcomes, Outcomes]:
        """None of the train part, as its rows are of a past that is simulated; and those of the test part.

        Forecasts are the model's, those of NAIVE_COLUMNS and, without an answer yet, the most frequent class.
        """
        nothing = no_outcomes(len(_ANSWERS) + 1)
        return nothing, joined([nothing, *self._outcomes])

    def parts(self) -> tuple[PartTally, PartTally]:
        """The counts of the train and the test part."""
        train, test = (
            PartTally(
                {name: counts.sum(axis=0) for name, counts in by_name.items()},
                self._losses[flag],
                self._calibrations[flag],
                by_name,
                self._decisions[flag],
            )
            for flag, by_name in enumerate(dict(zip(_ANSWERS, part, strict=True)) for part in self._counts)
        )
        return train, test


def by_horizon(horizons: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """Of each horizon with rows: accuracy and macro-F1 of the model, and each naive forecast's accuracy.

    `horizons` is name → (horizons, 3, 4): rows the true class, columns no answer and then the answered class, which
    counts as wrong where it is none.
    """
    found: list[dict[str, Any]] = []
    for hours in range(1, schema.HORIZON_HOURS + 1):
        counts = {name: part[hours] for name, part in horizons.items()}
        rows = int(counts[MODEL].sum())
        if rows:
            model = scores(counts[MODEL][:, 1:])
            naive = {name: float(part[:, 1:].trace()) / rows for name, part in counts.items() if name != MODEL}
            found.append(
                {
                    schema.HORIZON: hours,
                    "rows": rows,
                    "accuracy": model["accuracy"],
                    "macroF1": model["macroF1"],
                    "naive": naive,
                }
            )
    return found


def _counted(cells: NDArray[np.int64]) -> Counts:
    shape = (2, schema.HORIZON_HOURS + 1, _N, _N + 1)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)
