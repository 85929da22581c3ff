"""metrics.json: how good a model is, beside what naive forecasts score on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from loadcast import paths
from loadcast.artefacts.document import Artefact, Document, Migration, Number, Part, Real


class ClassScores(Part):
    """Scores of one class."""

    precision: Real
    recall: Real
    f1: Real
    support: Number


class ConfusionMatrix(Part):
    """Counts by true class (rows) and forecast class (columns), both in the order of `labels`."""

    labels: list[str]
    rows_are_true_class: list[list[Number]]


class Scores(Part):
    """Scores of one forecast. See kernels/scores.py."""

    rows: Number
    accuracy: Real
    weighted_precision: Real
    weighted_recall: Real
    weighted_f1: Real
    macro_f1: Real
    per_class: dict[str, ClassScores]
    confusion_matrix: ConfusionMatrix


class Lift(Part):
    """By how much the model beats the best naive forecast."""

    accuracy: Real
    macro_f1: Real


class PartMetrics(Scores):
    """The model's scores on the training or test rows, and those of each naive forecast."""

    log_loss: Real
    naive: dict[str, Scores]
    best_naive: str
    lift_over_best_naive: Lift


def _unchanged(document: Document) -> Document:
    return document


class Metrics(Artefact):
    """Scores on the observed rows of the training and of the test period."""

    FILE: ClassVar[str] = paths.METRICS
    VERSION: ClassVar[int] = 2
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: _unchanged}
    REMEDY: ClassVar[str] = "Train again: python Code/train.py CONFIG."

    train: PartMetrics
    test: PartMetrics
