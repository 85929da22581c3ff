"""How good the model is, beside what naive forecasts score on the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loadcast.kernels.decisions import UNDECIDED, DecisionRule
from loadcast.kernels.horizon_tally import by_horizon
from loadcast.kernels.scores import scores, warning_of
from loadcast.kernels.tally import MODEL, PartTally

MOST_FREQUENT = "mostFrequent"


def evaluate(train: PartTally, test: PartTally, decisions: DecisionRule = UNDECIDED) -> dict[str, Any]:
    """metrics.json: scores of the model and of the naive forecasts on the observed rows, for train and test.

    Each has the bills and shares of `decisions`, the rule that the tallies were made with, where there is one.
    `warning` says where the test rows are too few for scores to say much, else it is None.
    """
    commonest = _commonest(train)
    trained, tested = (
        scored | part.decisions.report(decisions, scored)
        for part, scored in ((part, _report(part, commonest)) for part in (train, test))
    )
    return {"train": trained, "test": tested, "warning": warning_of(tested["rows"])}


def _commonest(train: PartTally) -> int:
    """The commonest class of all training rows (the lower of equals; 1 where there are none)."""
    return 1 + int(train.confusion[MODEL].sum(axis=1).argmax())


def _report(part: PartTally, commonest: int) -> dict[str, Any]:
    """Scores of one part; where a forecast has no answer, it is the commonest class.

    Without rows, they are None, and no naive forecast is the best.
    """
    names = (*(name for name in part.confusion if name != MODEL), MOST_FREQUENT)
    naive = {name: scores(_confusion(part, name, commonest)) for name in names}
    model = {**scores(_confusion(part, MODEL, commonest)), **part.calibration.report()}
    if not model["rows"]:
        unknown = dict.fromkeys(("accuracy", "macroF1"))
        return {**model, "logLoss": None, "naive": naive, "bestNaive": None, "liftOverBestNaive": unknown}
    # The loss's last digits differ with the files that the rows are cut into.
    model["logLoss"] = float(f"{part.loss / model['rows']:.12g}")
    best = max(naive, key=lambda name: (naive[name]["macroF1"], naive[name]["accuracy"]))
    lift = {name: model[name] - naive[best][name] for name in ("accuracy", "macroF1")}
    horizons = {"byHorizon": by_horizon(part.horizons)} if part.horizons else {}
    return {**model, "naive": naive, "bestNaive": best, "liftOverBestNaive": lift, **horizons}


def _confusion(part: PartTally, name: str, commonest: int) -> npt.NDArray[np.int64]:
    """Rows the true class, columns the forecast."""
    if name == MOST_FREQUENT:
        support = part.confusion[MODEL].sum(axis=1)
        matrix = np.zeros((len(support), len(support)), dtype=np.int64)
        matrix[:, commonest - 1] = support
        return matrix
    answered: npt.NDArray[np.int64] = part.confusion[name][:, 1:].copy()
    answered[:, commonest - 1] += part.confusion[name][:, 0]
    return answered
