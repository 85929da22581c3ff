"""The tally of rows that have an origin each: the naive forecasts stand beside them, and what counts is the horizon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.decisions import UNDECIDED, DecisionRule
from loadcast.kernels.gated_scores import Outcomes, joined, no_outcomes
from loadcast.kernels.grid import hours_of
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.part_scores import PartScores
from loadcast.kernels.scores import scores
from loadcast.kernels.server_codes import server_codes
from loadcast.kernels.tally import MODEL, Codes, Counts, PartTally

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
        self._split = np.datetime64(split, "us")
        self._servers: dict[str, int] = {}
        self._counts = np.zeros((2, len(_ANSWERS), schema.HORIZON_HOURS + 1, _N, _N + 1), dtype=np.int64)
        self._outcomes: list[Outcomes] = []
        self._scores = PartScores(decisions)

    @property
    def servers(self) -> list[str]:
        """The servers of which rows were added."""
        return list(self._servers)

    def add(self, rows: pa.Table, labels: Codes, probabilities: NDArray[np.float64]) -> None:
        """Add rows with the columns TALLIED_BY_HORIZON and the model's answers: labels (n,), probabilities (n, 3)."""
        codes = server_codes(rows.column(schema.SERVER), self._servers)
        observed = rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False)
        codes = codes[observed]
        rows, labels, probabilities = rows.filter(pa.array(observed)), labels[observed], probabilities[observed]
        is_test = rows.column(schema.HOUR).to_numpy() >= self._split
        truth = rows.column(schema.LABEL).to_numpy()
        self._scores.add(is_test, truth, labels, probabilities)
        horizons = hours_of(rows.column(schema.HOUR)) - hours_of(rows.column(schema.FORECAST_ORIGIN))
        cells = (is_test * (schema.HORIZON_HOURS + 1) + horizons) * _N + truth - 1
        for number, name in enumerate(_ANSWERS):
            said = labels if name == MODEL else rows.column(name).to_numpy()
            self._counts[:, number] += _counted(cells * (_N + 1) + said)
        self._keep(codes[is_test], rows.filter(pa.array(is_test)), labels[is_test], probabilities[is_test])

    def _keep(self, codes: Codes, rows: pa.Table, labels: Codes, probabilities: NDArray[np.float64]) -> None:
        hours, origins = (hours_of(rows.column(name)) for name in (schema.HOUR, schema.FORECAST_ORIGIN))
        naive = [rows.column(name).to_numpy() for name in NAIVE_COLUMNS]
        said = np.stack([labels, *naive, np.zeros_like(labels)]).astype(np.int8)
        truth = rows.column(schema.LABEL).to_numpy().astype(np.int64)
        self._outcomes.append(Outcomes(codes, hours, origins, truth, said, probabilities))

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
                self._scores.losses[flag],
                self._scores.calibrations[flag],
                by_name,
                self._scores.decisions[flag],
            )
            for flag, by_name in enumerate(dict(zip(_ANSWERS, part, strict=True)) for part in self._counts)
        )
        return train, test


def by_horizon(horizons: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """Of each horizon with rows: accuracy and macro-F1 of the model, and each naive forecast's accuracy.

    `horizons` is name → (horizons, 3, 3 or 4): rows the true class, columns the answered class, and before them no
    answer, where a forecast may have none: that counts as wrong.
    """
    found: list[dict[str, Any]] = []
    for hours in range(1, schema.HORIZON_HOURS + 1):
        counts = {name: part[hours] for name, part in horizons.items()}
        rows = int(counts[MODEL].sum())
        if rows:
            model = scores(counts[MODEL][:, -_N:])
            naive = {name: float(part[:, -_N:].trace()) / rows for name, part in counts.items() if name != MODEL}
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
