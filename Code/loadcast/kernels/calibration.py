"""Whether probabilities can be taken at their word: of the answers given with 0.8, are 8 of 10 right?

Source: Guo et al., On Calibration of Modern Neural Networks (2017), for the expected calibration error; for the score,
Brier, Verification of Forecasts Expressed in Terms of Probability (1950), in its original form of several classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Answers are put together by the probability of the answered class: [0, 0.1), …, [0.9, 1].
N_BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """Sums over rows.

    `rows`, `hits`: (N_BINS,) how many answers, and how many of them were right; `confidence`: (N_BINS,) the sum of the
    answered classes' probabilities. `squares`: the sum over rows and classes of (probability − 1 of the true class)².
    """

    rows: NDArray[np.int64]
    hits: NDArray[np.int64]
    confidence: NDArray[np.float64]
    squares: float

    @classmethod
    def of(cls, truth: NDArray[Any], labels: NDArray[Any], probabilities: NDArray[np.float64]) -> Calibration:
        """Those of n rows: true and answered classes (n,), counted from 1, and probabilities (n, classes)."""
        numbers = np.arange(len(truth))
        confidence = probabilities[numbers, labels - 1]
        at = np.clip((confidence * N_BINS).astype(np.intp), 0, N_BINS - 1)
        misses = probabilities.copy()
        misses[numbers, truth - 1] -= 1.0
        return cls(
            np.bincount(at, minlength=N_BINS).astype(np.int64),
            np.bincount(at[labels == truth], minlength=N_BINS).astype(np.int64),
            np.bincount(at, weights=confidence, minlength=N_BINS).astype(np.float64),
            float(np.square(misses).sum()),
        )

    @classmethod
    def none(cls) -> Calibration:
        """Those of no rows."""
        counts = np.zeros(N_BINS, dtype=np.int64)
        return cls(counts, counts, np.zeros(N_BINS), 0.0)

    def plus(self, other: Calibration) -> Calibration:
        """The sums of both."""
        return Calibration(
            self.rows + other.rows,
            self.hits + other.hits,
            self.confidence + other.confidence,
            self.squares + other.squares,
        )

    def as_json(self) -> dict[str, Any]:
        """The sums as plain values; from_json reads them."""
        bins = {name: getattr(self, name).tolist() for name in ("rows", "hits", "confidence")}
        return {**bins, "squares": self.squares}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Calibration:
        """What as_json gave."""
        rows, hits = (np.array(content[name], dtype=np.int64) for name in ("rows", "hits"))
        return cls(rows, hits, np.array(content["confidence"], dtype=np.float64), content["squares"])

    def report(self) -> dict[str, Any]:
        """What metrics.json says: Brier score, expected calibration error, and the bins that have rows."""
        total = int(self.rows.sum())
        if not total:
            return {"brierScore": None, "expectedCalibrationError": None, "reliability": []}
        gaps = np.abs(self.hits - self.confidence)
        bins = [
            {
                "from": at / N_BINS,
                "to": (at + 1) / N_BINS,
                "rows": int(self.rows[at]),
                "accuracy": _rounded(self.hits[at] / self.rows[at]),
                "confidence": _rounded(self.confidence[at] / self.rows[at]),
            }
            for at in np.flatnonzero(self.rows)
        ]
        error = _rounded(gaps.sum() / total)
        return {"brierScore": _rounded(self.squares / total), "expectedCalibrationError": error, "reliability": bins}


def _rounded(value: float) -> float:
    """The last digits differ with the files that the rows are cut into."""
    return float(f"{value:.12g}")
