"""metrics.json: how good a model is, beside what naive forecasts score on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from loadcast import paths
from loadcast.artefacts.document import Artefact, Migration, Number, Part, Real, unchanged
from loadcast.artefacts.numbers import flattened

#: A score; null where there were no rows, and nothing is known.
Score = Real | None


class ClassScores(Part):
    """Scores of one class."""

    precision: Score
    recall: Score
    f1: Score
    support: Number


class ConfusionMatrix(Part):
    """Counts by true class (rows) and forecast class (columns), both in the order of `labels`."""

    labels: list[str]
    rows_are_true_class: list[list[Number]]


class Scores(Part):
    """Scores of one forecast. See kernels/scores.py."""

    rows: Number
    accuracy: Score
    weighted_precision: Score
    weighted_recall: Score
    weighted_f1: Score
    macro_f1: Score
    per_class: dict[str, ClassScores]
    confusion_matrix: ConfusionMatrix


class Lift(Part):
    """By how much the model beats the best naive forecast."""

    accuracy: Score
    macro_f1: Score


class ReliabilityBin(Part):
    """Answers whose class had a probability in [from, to): how often they were right, and their mean probability."""

    begin: Real = Field(alias="from")
    end: Real = Field(alias="to")
    rows: Number
    accuracy: Real
    confidence: Real


class HorizonMetrics(Part):
    """Scores of the forecasts made so many hours ahead, and each naive forecast's accuracy on the same rows."""

    horizon_hours: Number
    rows: Number
    accuracy: Real
    macro_f1: Real = Field(alias="macroF1")
    naive: dict[str, Real]


class Bill(Part):
    """What forecasts have cost, in all and for each row."""

    total: Real
    per_row: Score


class Costs(Part):
    """Bills on the same rows: of the classes of least expected cost, of the likeliest ones, of each naive forecast."""

    decision: Bill
    prediction: Bill
    naive: dict[str, Bill]
    best_naive: str | None


class Confident(Part):
    """How many rows have a forecast as sure as is wanted, how many have none, and how often those that do are right."""

    min_confidence: Real
    rows: Number
    rows_without_forecast: Number
    accuracy: Score


class GatedMetrics(Part):
    """Scores of what the gate lets through, and how many rows each forecast answers; see kernels/gate.py."""

    rows: Number
    accuracy: Score
    macro_f1: Score = Field(alias="macroF1")
    log_loss: Score
    share_of_naive: Score
    answered_by: dict[str, Number]


class PartMetrics(Scores):
    """The model's scores on the training or test rows, and those of each naive forecast.

    `costs` and `confident` are there only where the configuration has costs, and minConfidence.
    """

    log_loss: Score
    brier_score: Score = None
    expected_calibration_error: Score = None
    reliability: list[ReliabilityBin] = Field(default_factory=list)
    naive: dict[str, Scores]
    best_naive: str | None
    lift_over_best_naive: Lift
    by_horizon: list[HorizonMetrics] = Field(default_factory=list)
    costs: Costs | None = None
    confident: Confident | None = None
    gated: GatedMetrics | None = None


class Metrics(Artefact):
    """Scores on the observed rows of the training and of the test period.

    Before version 3, `naive` has no forecasts of the same hour, and nothing is said of calibration.
    `warning` says where the test rows are too few for scores to say much.
    """

    FILE: ClassVar[str] = paths.METRICS
    VERSION: ClassVar[int] = 3
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: unchanged, 2: unchanged}
    REMEDY: ClassVar[str] = "Train again: python Code/train.py CONFIG."

    train: PartMetrics
    test: PartMetrics
    warning: str | None = None

    def numbers(self) -> dict[str, float]:
        """All scores that are known, such as `test/model/accuracy` and `test/naive/mostFrequent/perClass/low/f1`."""
        return flattened({"train": _by_forecast(self.train), "test": _by_forecast(self.test)})


def _by_forecast(part: PartMetrics) -> dict[str, Any]:
    """A part's scores: the model's beside those of each naive forecast."""
    apart = {"naive", "lift_over_best_naive", "reliability", "by_horizon", "costs", "gated"}
    scores = _with_counts(part.model_dump(by_alias=True, exclude=apart))
    naive = {name: _with_counts(forecast.model_dump(by_alias=True)) for name, forecast in part.naive.items()}
    lift = part.lift_over_best_naive.model_dump(by_alias=True)
    bills = {} if part.costs is None else {"costs": part.costs.model_dump(by_alias=True)}
    gated = {} if part.gated is None else {"gated": part.gated.model_dump(by_alias=True)}
    return {"model": scores, "naive": naive, "liftOverBestNaive": lift, **bills, **gated}


def _with_counts(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores whose confusion matrix is true class → forecast class → count."""
    matrix = scores["confusionMatrix"]
    labels, rows = matrix["labels"], matrix["rowsAreTrueClass"]
    counts = {true: dict(zip(labels, row, strict=False)) for true, row in zip(labels, rows, strict=False)}
    return {**scores, "confusionMatrix": counts}
