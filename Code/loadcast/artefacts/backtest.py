"""backtest.json: what a model would have scored on the last days of its training period, refitted before each fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from loadcast.artefacts.document import Artefact, Migration, Name, Number, Part, Real
from loadcast.artefacts.metrics import HorizonMetrics, ReliabilityBin, Scores
from loadcast.artefacts.numbers import flattened


class ByMeasure(Part):
    """The same of both measures."""

    accuracy: Real
    macro_f1: Real = Field(alias="macroF1")


class BestNaive(Part):
    """The naive forecast that is best by each measure."""

    accuracy: str
    macro_f1: str = Field(alias="macroF1")


class FoldScores(Scores):
    """The model's scores on some rows, and those of each naive forecast on the same rows."""

    log_loss: Real
    brier_score: Real
    expected_calibration_error: Real
    reliability: list[ReliabilityBin]
    naive: dict[str, Scores]
    best_naive: BestNaive
    lift_over_best_naive: ByMeasure


class BacktestFold(FoldScores):
    """Scores of one refit on the hours from `test_begin` to before `test_end`."""

    test_begin: str
    test_end: str
    training_rows: Number
    servers: Number


class Lift(Part):
    """By how much the model beats the naive forecast `over`, the best by this measure, in all folds together.

    `low` and `high` are the interval that holds 95 % of the lifts of servers drawn anew; None of a single server.
    """

    over: str
    lift: Real
    low: Real | None
    high: Real | None
    verdict: Literal["better", "worse", "tie", "unknown"]


class Lifts(Part):
    """The lift by each measure."""

    accuracy: Lift
    macro_f1: Lift = Field(alias="macroF1")


class ServerScores(Part):
    """One server in all folds: the model's accuracy, and that of its own best naive forecast."""

    server: Name
    rows: Number
    accuracy: Real
    best_naive: str
    naive_accuracy: Real
    lift: Real


class ServersBelow(Part):
    """How many servers lie below a naive forecast of their own; `clearly_below` by more than 2 points."""

    number: Number
    below: Number
    clearly_below: Number
    clearly_below_share: Real
    median_lift: Real
    median_lift_of_below: Real | None


class ChosenBefore(ServersBelow):
    """Servers against the naive forecast that was their best on all earlier folds; of all folds but the first."""

    folds: Number


class BacktestServers(ServersBelow):
    """All servers against their own best naive forecast in hindsight, the worst first.

    `chosen_before` is None of a single fold, and of backtests that did not know of it.
    """

    listed: list[ServerScores]
    chosen_before: ChosenBefore | None = None


class OfRefits(Artefact):
    """What scores of refits are of: whose statistics, which settings, and which time was learned from."""

    run: str
    feature_set: str
    model: str
    label_rule: str
    origin_every_hours: Number
    step_days: Number
    train_begin: str
    test_split_start: str


class Backtest(OfRefits):
    """A backtest's scores by fold, horizon, class and server, beside naive forecasts, and how sure the lift is."""

    FILE: ClassVar[str] = "backtest.json"
    VERSION: ClassVar[int] = 1
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: dict}
    REMEDY: ClassVar[str] = "Make it anew: loadcast backtest CONFIG --json FILE."

    folds: list[BacktestFold]
    total: FoldScores
    lift: Lifts
    by_horizon: list[HorizonMetrics]
    servers: BacktestServers
    warning: str | None

    def numbers(self) -> dict[str, float]:
        """The scores of all folds together, such as `total/accuracy` and `lift/accuracy/low`."""
        total = self.total.model_dump(by_alias=True, exclude={"reliability", "per_class", "confusion_matrix"})
        lift, servers = (part.model_dump(by_alias=True) for part in (self.lift, self.servers))
        return flattened({"total": total, "lift": lift, "servers": servers})
