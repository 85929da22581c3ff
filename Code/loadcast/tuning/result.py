"""What follows from the tallies of a tuning: its trials, the best first, and which of them is recommended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from loadcast.kernels.backtest.folds import Fold
from loadcast.kernels.backtest.summary import BETTER, WORSE, scored, warning_of_few
from loadcast.kernels.tuning.differences import Difference, accuracy_gains, loss_gains
from loadcast.kernels.tuning.plan import BASE, NEWEST, Schedule, Unit
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.tuning.search import losses_of
from loadcast.tuning.space import SearchSpace, Trial, nested

COMPLETE, STOPPED, UNFINISHED = "complete", "stopped", "unfinished"
_NOTHING_TO_COMPARE = "Time was up before any trial was tried on all folds: ask for a longer budget, and go on."


@dataclass(frozen=True)
class Found:
    """The trials of a space and, by trial and fold, what came of them; folds are numbered from 1, the newest."""

    space: SearchSpace
    trials: Sequence[Trial]
    folds: Sequence[Fold]
    schedule: Schedule
    tallies: Mapping[Unit, TrialTally]

    def document(self, asked: int) -> dict[str, Any]:
        """The entries of tuning.json that follow from the tallies; `asked` is how many trials were asked for."""
        states = self._states()
        totals = {trial: self._total(trial) for trial, state in states.items() if state == COMPLETE}
        gains = self._gains(totals)
        better = {trial: self._better_folds(trial) for trial in gains}
        order = sorted(states, key=lambda trial: self._rank(trial, totals))
        servers = max((int((total.rows > 0).sum()) for total in totals.values()), default=0)
        return {
            "folds": [_period(fold) for fold in sorted(self.folds, key=lambda fold: fold.split)],
            "servers": servers,
            "space": dict(self.space.choices),
            "tried": self._tried(states, asked),
            "trials": [
                {
                    "number": trial,
                    "changes": nested({}, self.trials[trial].changes, self.space.settings.model),
                    "state": states[trial],
                    "folds": self._by_fold(trial, self.folds if states[trial] != STOPPED else self._newest),
                    "total": scored(totals[trial]) if trial in totals else None,
                    "gains": _shown(gains[trial]) if trial in gains else None,
                    "betterFolds": better.get(trial),
                }
                for trial in order
            ],
            "recommended": self._recommended(order, gains, better),
            "warning": warning_of_few(servers) if servers else _NOTHING_TO_COMPARE,
        }

    def _states(self) -> dict[int, str]:
        """What became of each trial that was begun.

        One that is given up is so even where all folds are known, of a call for fewer trials, whose last bracket had
        another better half: what is found does not depend on how it was asked for.
        """
        stopped = self.schedule.given_up(losses_of(self.tallies)) if len(self.folds) > 1 else set()
        done = Counter(trial for trial, _ in self.tallies)
        return {
            trial: STOPPED if trial in stopped else COMPLETE if number == len(self.folds) else UNFINISHED
            for trial, number in sorted(done.items())
        }

    def _tried(self, states: Mapping[int, str], asked: int) -> dict[str, int]:
        numbers = Counter(states.values())
        begun = {state: numbers[state] for state in (COMPLETE, STOPPED, UNFINISHED)}
        return {"asked": asked, "drawn": len(self.trials), **begun, "untried": len(self.trials) - len(states)}

    def _total(self, trial: int) -> TrialTally:
        return reduce(TrialTally.plus, (self.tallies[trial, fold.number] for fold in self.folds))

    def _gains(self, totals: Mapping[int, TrialTally]) -> dict[int, tuple[Difference, Difference]]:
        """By trial what log-loss and accuracy it gains over the configuration as it stands, once that was tried."""
        controls = [trial for trial in range(self.schedule.controls) if trial in totals]
        if BASE not in totals:
            return {}
        others = [trial for trial in sorted(totals) if trial not in controls]
        tallies = [totals[trial] for trial in others]
        folds = [[self.tallies[trial, fold.number] for trial in controls] for fold in self.folds]
        found = [gains(totals[BASE], tallies, folds) for gains in (loss_gains, accuracy_gains)]
        return dict(zip(others, zip(*found, strict=True), strict=True))

    def _better_folds(self, trial: int) -> int:
        """On how many folds a trial lost less than the configuration as it stands."""
        pairs = ((self.tallies[trial, fold.number], self.tallies[BASE, fold.number]) for fold in self.folds)
        return sum(1 for own, base in pairs if own.loss < base.loss)

    def _rank(self, trial: int, totals: Mapping[int, TrialTally]) -> tuple[bool, float, int]:
        """By log-loss; trials that were not tried on all folds come last, by the newest fold's."""
        known = totals.get(trial) or self.tallies.get((trial, NEWEST))
        return trial not in totals, known.log_loss if known else math.inf, trial

    @property
    def _newest(self) -> list[Fold]:
        return [fold for fold in self.folds if fold.number == NEWEST]

    def _by_fold(self, trial: int, folds: Sequence[Fold]) -> list[dict[str, Any]]:
        """Those of some folds that a trial was tried on, in the order of time."""
        known = [(fold, tally) for fold in folds if (tally := self.tallies.get((trial, fold.number))) is not None]
        return [
            {
                **_period(fold),
                "trainingRows": tally.training_rows,
                "rows": int(tally.rows.sum()),
                "logLoss": tally.log_loss,
                "accuracy": tally.accuracy,
            }
            for fold, tally in sorted(known, key=lambda pair: pair[0].split)
        ]

    def _recommended(
        self, order: Sequence[int], gains: Mapping[int, tuple[Difference, Difference]], better: Mapping[int, int]
    ) -> int | None:
        """The trial that loses least among those that are surely better than the configuration: in log-loss, without
        surely losing accuracy, and on more than half of the folds."""
        sure = (
            trial
            for trial in order
            if trial in gains
            and gains[trial][0].verdict == BETTER
            and gains[trial][1].verdict != WORSE
            and 2 * better[trial] > len(self.folds)
        )
        return next(sure, None)


def _shown(gains: tuple[Difference, Difference]) -> dict[str, Any]:
    named = zip(("logLoss", "accuracy"), gains, strict=True)
    return {name: {**vars(gain), "verdict": gain.verdict} for name, gain in named}


def _period(fold: Fold) -> dict[str, str]:
    return {"testBegin": fold.split.isoformat(" "), "testEnd": fold.end.isoformat(" ")}
