"""backtest.json's numbers: scores by fold, horizon, class and server beside naive forecasts; how sure the lift is."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from loadcast.kernels.backtest.bootstrap import accuracy, interval, macro_f1, resampled
from loadcast.kernels.backtest.folds import Fold
from loadcast.kernels.backtest.servers import best_naive, servers_beside_naive
from loadcast.kernels.backtest.tally import ANSWERS, NAIVE, FoldTally
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.horizon_tally import by_horizon
from loadcast.kernels.scores import scores
from loadcast.kernels.tally import Counts

BETTER, WORSE, TIE, UNKNOWN = "better", "worse", "tie", "unknown"
#: With fewer servers an interval says little.
FEW_SERVERS = 10
_MEASURES = {"accuracy": accuracy, "macroF1": macro_f1}


def summary(plan: Sequence[Fold], tallies: Sequence[FoldTally]) -> dict[str, Any]:
    """What the tallies of the folds of a plan say, one for each; the folds come in the order of time.

    There must be rows, in each fold.
    """
    together = functools.reduce(FoldTally.plus, tallies)
    folds = sorted(zip(plan, tallies, strict=True), key=lambda item: item[0].split)
    return {
        "folds": [_fold(fold, tally) for fold, tally in folds],
        "total": scored(together),
        "lift": _lifts(together.by_server),
        "byHorizon": by_horizon(dict(zip(ANSWERS, together.by_horizon, strict=True))),
        "servers": servers_beside_naive([tally for _, tally in folds]),
        "warning": warning_of_few(len(together.servers)),
    }


def _fold(fold: Fold, tally: FoldTally) -> dict[str, Any]:
    period = {"testBegin": fold.split.isoformat(" "), "testEnd": fold.end.isoformat(" ")}
    return {
        **period,
        "trainingRows": tally.training_rows,
        "servers": len(tally.servers),
        **scored(tally),
    }


class Counted(Protocol):
    """What scores follow from: confusion matrices of ANSWERS (answers, 3, 3), the sum of losses, calibration."""

    @property
    def confusion(self) -> Counts: ...

    @property
    def loss(self) -> float: ...

    @property
    def calibration(self) -> Calibration: ...


def scored(tally: Counted) -> dict[str, Any]:
    """The model's scores and each naive forecast's; the best naive forecast of each measure, and the lift over it."""
    confusion = tally.confusion
    model, *naive = (scores(one) for one in confusion)
    calibration = tally.calibration.report()
    values = {name: measure(confusion) for name, measure in _MEASURES.items()}
    best = {name: int(best_naive(numbers)) for name, numbers in values.items()}
    return {
        **model,
        "logLoss": float(f"{tally.loss / model['rows']:.12g}"),
        **calibration,
        "naive": dict(zip(NAIVE, naive, strict=True)),
        "bestNaive": {name: ANSWERS[at] for name, at in best.items()},
        "liftOverBestNaive": {name: float(numbers[0] - numbers[best[name]]) for name, numbers in values.items()},
    }


def _lifts(by_server: Counts) -> dict[str, Any]:
    """By measure: the lift of all folds together over the naive forecast that is best there, and its interval."""
    whole = by_server.sum(axis=1)
    drawn = resampled(by_server) if by_server.shape[1] > 1 else None
    return {name: _lift(name, whole, drawn) for name in _MEASURES}


def _lift(name: str, whole: Counts, drawn: Float64s | None) -> dict[str, Any]:
    values = _MEASURES[name](whole)
    best = int(best_naive(values))
    low, high, verdict = None, None, UNKNOWN
    if drawn is not None:
        compared = _MEASURES[name](drawn[:, [0, best]])
        low, high = interval(compared[:, 0] - compared[:, 1])
        verdict = BETTER if low > 0 else WORSE if high < 0 else TIE
    lift = float(values[0] - values[best])
    return {"over": ANSWERS[best], "lift": lift, "low": low, "high": high, "verdict": verdict}


def warning_of_few(servers: int) -> str | None:
    """What is to be said of intervals that so few servers were drawn for; None where they are enough."""
    if servers == 1:
        return "There is one server only, so nothing is known of how the lift differs between servers."
    return warning_of_narrow(servers, "servers")


def warning_of_narrow(units: int, unit: str) -> str | None:
    """What is to be said of intervals of so few servers, or days; None where they are enough."""
    if units < FEW_SERVERS:
        return f"The intervals are of {units} {unit} alone: with fewer than {FEW_SERVERS} they are too narrow."
    return None
