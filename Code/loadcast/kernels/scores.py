"""Scores of a forecast from its confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loadcast import schema

#: With fewer rows, an accuracy's standard error, at most 0.5 ÷ √rows, can be more than 0.05.
FEW_ROWS = 100
_RATES = ("accuracy", "weightedPrecision", "weightedRecall", "weightedF1", "macroF1")
_CLASS_RATES = ("precision", "recall", "f1")
#: What a forecast that called the true class impossible loses is bounded.
_SMALLEST_PROBABILITY = 1e-15


def log_losses(probabilities: npt.NDArray[np.float64], truth: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Minus the logarithms of the probabilities, (n, 3), of the true classes 1 to 3, (n,): (n,)."""
    losses: npt.NDArray[np.float64] = -np.log(
        np.maximum(probabilities[np.arange(len(truth)), truth - 1], _SMALLEST_PROBABILITY)
    )
    return losses


def scores(confusion: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, weighted, per-class and macro precision, recall and F1.

    `confusion` is (3, 3): rows the true class, columns the forecast, in the order of schema.CLASS_NAMES. A class that
    never occurs has recall 0, one never forecast has precision 0 (scikit-learn's zero_division=0); macro means are over
    the classes that occur or are forecast. Without rows, every score is None: nothing is known.
    """
    names = list(schema.CLASS_NAMES.values())
    matrix = {"labels": names, "rowsAreTrueClass": confusion.tolist()}
    if not confusion.any():
        nothing = {name: {**dict.fromkeys(_CLASS_RATES), "support": 0} for name in names}
        return {"rows": 0, **dict.fromkeys(_RATES), "perClass": nothing, "confusionMatrix": matrix}
    total = int(confusion.sum())
    hits = np.diag(confusion).astype(np.float64)
    support, forecast = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(forecast, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1.0)
    # Not `@`: whose last bit depends on the processor.
    rates = (hits.sum() / total, *((values * support).sum() / total for values in (precision, recall, f1)))
    return {
        "rows": total,
        **dict(zip(_RATES, map(float, (*rates, f1[(support + forecast) > 0].mean())), strict=True)),
        "perClass": {
            name: {**dict(zip(_CLASS_RATES, map(float, values), strict=True)), "support": int(number)}
            for name, *values, number in zip(names, precision, recall, f1, support, strict=True)
        },
        "confusionMatrix": matrix,
    }


def warning_of(rows: int) -> str | None:
    """What is to be said of scores on so few observed hours of the test period; None where they are enough."""
    if rows == 0:
        return (
            "There is no observed hour in the test period, so nothing is known of how good the forecast is. "
            "Check testSplitStart, trainEnd and dataFile."
        )
    if rows < FEW_ROWS:
        return (
            f"These scores are of {rows:,} observed hour{'s' if rows > 1 else ''} of the test period alone: with fewer "
            f"than {FEW_ROWS}, chance decides much of them. Choose an earlier testSplitStart, or more data."
        )
    return None
