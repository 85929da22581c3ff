"""From probabilities to decisions: the class of least expected cost, and whether a forecast is sure enough.

Source: Elkan, The Foundations of Cost-Sensitive Learning (2001): with probabilities p and costs C (rows the true class,
columns the forecast), the best forecast is the class j with the smallest expected cost Σ p[i] · C[i][j].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.costs import CostMatrix

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

_N = len(schema.CLASS_NAMES)


class Decisions(NamedTuple):
    """What follows from the probabilities of n rows; None where the rule says nothing of it.

    `labels`, (n,) of schema.CLASS_NAMES, and `expected_costs`, (n,): the classes of least expected cost, and that cost.
    `confident`, (n,): whether the largest probability reaches the rule's.
    """

    labels: Labels | None
    expected_costs: Floats | None
    confident: NDArray[np.bool_] | None


@dataclass(frozen=True)
class DecisionRule:
    """What decisions are made by: the costs of forecasts, and the probability that a forecast needs. Either may lack.

    `costs`: rows the true class, columns the forecast. `min_confidence`: 0 to 1.
    """

    costs: CostMatrix | None = None
    min_confidence: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing: then nothing is to be decided."""
        return self.costs is None and self.min_confidence is None

    def decide(self, probabilities: Floats) -> Decisions:
        """Decisions for probabilities (n, 3); of classes with the same expected cost, the lower one."""
        labels = expected = confident = None
        if self.costs is not None:
            by_class = expected_costs(probabilities, self.costs)
            at = by_class.argmin(axis=1)
            labels, expected = at + 1, by_class[np.arange(len(at)), at]
        if self.min_confidence is not None:
            confident = probabilities.max(axis=1) >= self.min_confidence
        return Decisions(labels, expected, confident)


#: The rule of a configuration that says nothing of decisions.
UNDECIDED = DecisionRule()


def expected_costs(probabilities: Floats, costs: CostMatrix) -> Floats:
    """What each class is expected to cost as the forecast: probabilities (n, 3) → (n, 3).

    Sums go class by class, as a matrix product may add in another order where there are more rows: a row's answer must
    depend on that row alone.
    """
    matrix = np.array(costs, dtype=np.float64)
    total: Floats = probabilities[:, :1] * matrix[0]
    for true in range(1, _N):
        total += probabilities[:, true : true + 1] * matrix[true]
    return total


@dataclass(frozen=True, eq=False)
class DecisionTally:
    """Counts of rows by true class (rows) and class (columns), (3, 3) each; nothing is counted that the rule lacks.

    `decided`: by the class of least expected cost. `confident`: by the model's class, of the confident rows alone.
    """

    decided: Counts
    confident: Counts

    @classmethod
    def of(cls, rule: DecisionRule, truth: NDArray[Any], labels: NDArray[Any], probabilities: Floats) -> DecisionTally:
        """Those of n rows: true and answered classes (n,), counted from 1, and probabilities (n, 3)."""
        made = rule.decide(probabilities)
        none = np.zeros(0, dtype=np.intp)
        sure = np.zeros(len(truth), dtype=bool) if made.confident is None else made.confident
        decided = (none, none) if made.labels is None else (truth, made.labels)
        return cls(_counts(*decided), _counts(truth[sure], labels[sure]))

    @classmethod
    def none(cls) -> DecisionTally:
        """Those of no rows."""
        nothing = np.zeros((_N, _N), dtype=np.int64)
        return cls(nothing, nothing)

    def plus(self, other: DecisionTally) -> DecisionTally:
        """The counts of both."""
        return DecisionTally(self.decided + other.decided, self.confident + other.confident)

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values; from_json reads them."""
        return {"decided": self.decided.tolist(), "confident": self.confident.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DecisionTally:
        """What as_json gave."""
        return cls(*(np.array(content[name], dtype=np.int64) for name in ("decided", "confident")))

    def report(self, rule: DecisionRule, scores: Mapping[str, Any]) -> dict[str, Any]:
        """What metrics.json says of decisions: `costs` and `confident`, each only where the rule has it.

        `scores` are those of the same rows, as metrics.json has them: of the model and, under `naive`, of the naive
        forecasts, each with its confusion matrix.
        """
        found: dict[str, Any] = {}
        if rule.costs is not None:
            found["costs"] = self._costs(np.array(rule.costs), scores)
        if rule.min_confidence is not None:
            rows, kept = scores["rows"], int(self.confident.sum())
            accuracy = int(np.trace(self.confident)) / kept if kept else None
            counts = {"rows": kept, "rowsWithoutForecast": rows - kept, "accuracy": accuracy}
            found["confident"] = {"minConfidence": rule.min_confidence, **counts}
        return found

    def _costs(self, costs: Floats, scores: Mapping[str, Any]) -> dict[str, Any]:
        rows = scores["rows"]
        totals = {name: _total(_matrix(forecast), costs) for name, forecast in scores["naive"].items()}
        return {
            "decision": _bill(_total(self.decided, costs), rows),
            "prediction": _bill(_total(_matrix(scores), costs), rows),
            "naive": {name: _bill(total, rows) for name, total in totals.items()},
            "bestNaive": min(totals, key=totals.__getitem__) if rows else None,
        }


def _counts(truth: NDArray[Any], labels: NDArray[Any]) -> Counts:
    cells = (truth.astype(np.intp) - 1) * _N + labels - 1
    return np.bincount(cells, minlength=_N * _N).reshape(_N, _N).astype(np.int64)


def _matrix(scores: Mapping[str, Any]) -> Counts:
    return np.array(scores["confusionMatrix"]["rowsAreTrueClass"], dtype=np.int64)


def _total(counts: Counts, costs: Floats) -> float:
    """What the forecasts of these rows have cost, without digits that binary numbers add, such as those of 3 · 0.1."""
    return float(f"{(counts * costs).sum():.12g}")


def _bill(total: float, rows: int) -> dict[str, float | None]:
    return {"total": total, "perRow": total / rows if rows else None}
