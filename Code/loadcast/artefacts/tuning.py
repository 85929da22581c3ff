"""tuning.json: what a search over settings has tried, how surely it is better, and what to put into a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from loadcast.artefacts.backtest import FoldScores, OfRefits
from loadcast.artefacts.document import Migration, Number, Part, Real
from loadcast.artefacts.numbers import flattened


class TuningFold(Part):
    """The hours that a fold is scored by: from `test_begin` to before `test_end`."""

    test_begin: str
    test_end: str


class TrialFold(TuningFold):
    """A trial on one fold."""

    training_rows: Number
    rows: Number
    log_loss: Real
    accuracy: Real


class Gain(Part):
    """By how much a trial is better than the configuration as it stands; below 0 it is worse.

    The intervals from `low` to `high` of all trials hold together in 95 % of resamples of servers; None of a single
    server.
    """

    gain: Real
    low: Real | None
    high: Real | None
    verdict: Literal["better", "worse", "tie", "unknown"]


class Gains(Part):
    """The gain by each measure: log-loss saved, accuracy won."""

    log_loss: Gain
    accuracy: Gain


class TuningTrial(Part):
    """One trial: `changes` are the keys of the configuration that differ, as they stand in it.

    `state`: complete, tried on all folds; stopped, given up after the newest fold; unfinished, as time was up.
    `total` and `gains` are of all folds, so of complete trials alone; the configuration as it stands has no gains.
    """

    number: Number
    changes: dict[str, Any]
    state: Literal["complete", "stopped", "unfinished"]
    folds: list[TrialFold]
    total: FoldScores | None
    gains: Gains | None
    better_folds: Number | None


class TrialsTried(Part):
    """How many trials were asked for, how many different ones there are, and what became of them."""

    asked: Number
    drawn: Number
    complete: Number
    stopped: Number
    unfinished: Number
    untried: Number


class Tuning(OfRefits):
    """A search's trials, the best first, and the one that is recommended; None where nothing is clearly better."""

    FILE: ClassVar[str] = "tuning.json"
    VERSION: ClassVar[int] = 1
    FIRST: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {1: dict}
    REMEDY: ClassVar[str] = "Make it anew: loadcast tune CONFIG --json FILE."

    folds: list[TuningFold]
    servers: Number
    space: dict[str, Any]
    tried: TrialsTried
    trials: list[TuningTrial]
    recommended: Number | None = Field(description="a trial's number")
    warning: str | None

    @property
    def base(self) -> TuningTrial | None:
        """The configuration as it stands; None before it was tried."""
        return self._numbered(0)

    @property
    def chosen(self) -> TuningTrial | None:
        """The trial that is recommended."""
        return None if self.recommended is None else self._numbered(self.recommended)

    def _numbered(self, number: int) -> TuningTrial | None:
        return next((trial for trial in self.trials if trial.number == number), None)

    def numbers(self) -> dict[str, float]:
        """What a history is told, such as `base/logLoss`, `chosen/accuracy` and `tried/complete`."""
        totals = {"base": self.base, "chosen": self.chosen}
        scores = {
            name: {"logLoss": trial.total.log_loss, "accuracy": trial.total.accuracy, "macroF1": trial.total.macro_f1}
            for name, trial in totals.items()
            if trial is not None and trial.total is not None
        }
        return flattened({**scores, "tried": self.tried.model_dump(by_alias=True)})
