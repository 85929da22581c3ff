"""What is asked of a tuning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TuningPlan:
    """`folds` of `step_days` days each before testSplitStart, and up to `trials` different settings.

    After `budget_s` seconds no fold of a trial begins any more; the clock starts once Spark has.
    """

    folds: int = 3
    step_days: int = 7
    trials: int = 40
    budget_s: float = 600.0
