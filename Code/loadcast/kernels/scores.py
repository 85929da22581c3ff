"""Scores of a forecast from its confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loadcast import schema


def scores(confusion: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy, weighted, per-class and macro precision, recall and F1.

    `confusion` is (3, 3): rows the true class, columns the forecast, in the order of schema.CLASS_NAMES. A class that
    never occurs
    has recall 0, one never forecast has precision 0 (scikit-learn's zero_division=0); macro means are over the classes
    that occur
    or are forecast.
    """
    total = int(confusion.sum())
    hits = np.diag(confusion).astype(np.float64)
    support, forecast = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(forecast, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1.0)
    seen = (support + forecast) > 0
    return {
        "rows": total,
        "accuracy": float(hits.sum() / max(total, 1)),
        "weightedPrecision": float(precision @ support / max(total, 1)),
        "weightedRecall": float(recall @ support / max(total, 1)),
        "weightedF1": float(f1 @ support / max(total, 1)),
        "macroF1": float(f1[seen].mean()) if seen.any() else 0.0,
        "perClass": {
            name: {
                "precision": float(precision[place]),
                "recall": float(recall[place]),
                "f1": float(f1[place]),
                "support": int(support[place]),
            }
            for place, name in enumerate(schema.CLASS_NAMES.values())
        },
        "confusionMatrix": {"labels": list(schema.CLASS_NAMES.values()), "rowsAreTrueClass": confusion.tolist()},
    }
