"""The periods of a backtest: each is forecast by a model that knows only what lies before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from loadcast import schema
from loadcast.kernels.calendar import epoch_seconds

#: A forecast of the longest horizon has to lie within a fold.
SHORTEST_STEP_DAYS = schema.HORIZON_HOURS // 24


@dataclass(frozen=True)
class Fold:
    """A refit on what lies before `split`, scored on the hours from there to before `end`; the newest is number 1."""

    number: int
    split: datetime
    end: datetime

    @property
    def split_hour(self) -> int:
        """The first hour (since 1970) that is not known."""
        return epoch_seconds(self.split) // 3_600

    @property
    def end_hour(self) -> int:
        """The first hour (since 1970) that is not scored."""
        return epoch_seconds(self.end) // 3_600


def folds_before(split: datetime, number: int, step_days: int) -> list[Fold]:
    """`number` folds of `step_days` days each, one before the other, that end at `split`; the newest first.

    Raises ValueError for fewer than one, or a step too short for the longest horizon.
    """
    if number < 1 or step_days < SHORTEST_STEP_DAYS:
        raise ValueError(f"wanted 1 fold or more of {SHORTEST_STEP_DAYS} days or more, found {number} of {step_days}")
    step = timedelta(days=step_days)
    return [Fold(one, split - one * step, split - (one - 1) * step) for one in range(1, number + 1)]
