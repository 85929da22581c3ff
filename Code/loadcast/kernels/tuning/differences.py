"""How surely trials differ from the configuration as it stands, when many are compared with it.

Servers are drawn anew, as for a backtest's lift, the same ones for all trials. Of many trials that are no better at all
some look better by chance, so the intervals hold together: in 95 of 100 cases none of them misses its trial's true
difference (the bootstrap of the largest studentized deviation: Romano and Wolf, 2005; White's reality check, 2000).
Another seed makes a difference of its own, to all servers alike, which no drawing of servers shows: it is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadcast.kernels.backtest.bootstrap import INTERVAL, drawn_sums
from loadcast.kernels.backtest.summary import BETTER, TIE, UNKNOWN, WORSE
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.tuning.tally import TrialTally

_LEVEL = INTERVAL[1] - INTERVAL[0]
#: Of one normal deviation.
_OF_ONE = 1.96


@dataclass(frozen=True)
class Difference:
    """How much better than another a trial is, by a measure of which more is better; None: nothing is known."""

    gain: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """What the interval says."""
        if self.low is None or self.high is None:
            return UNKNOWN
        return BETTER if self.low > 0 else WORSE if self.high < 0 else TIE


def loss_gains(
    base: TrialTally, trials: Sequence[TrialTally], controls: Sequence[Sequence[TrialTally]] = ()
) -> list[Difference]:
    """By how much each trial's log-loss is below the one of `base`; all are of the same rows.

    `controls` are by fold the tallies of `base`'s settings with several seeds: what these differ widens the intervals.
    """
    spread = _seed_error([[tally.loss for tally in fold] for fold in controls], base)
    return _gains(base, np.stack([base.losses - trial.losses for trial in trials], axis=1) if trials else None, spread)


def accuracy_gains(
    base: TrialTally, trials: Sequence[TrialTally], controls: Sequence[Sequence[TrialTally]] = ()
) -> list[Difference]:
    """By how much each trial's accuracy is above the one of `base`, as loss_gains."""
    spread = _seed_error([[float(tally.hits.sum()) for tally in fold] for fold in controls], base)
    return _gains(base, np.stack([trial.hits - base.hits for trial in trials], axis=1) if trials else None, spread)


def _seed_error(sums: Sequence[Sequence[float]], base: TrialTally) -> float:
    """The standard error, by row, that two seeds alone give the difference of two trials; 0 where no seed was tried.

    `sums` are by fold those of some seeds. Folds are fitted apart, so their variances add up.
    """
    variances = [float(np.var(fold, ddof=1)) for fold in sums if len(fold) > 1]
    return float(np.sqrt(2 * sum(variances)) / base.rows.sum())


def _gains(base: TrialTally, gains: Float64s | None, seed_error: float) -> list[Difference]:
    """Differences of sums (servers, trials), by row."""
    if gains is None:
        return []
    scored = base.rows > 0
    rows, gains = base.rows[scored].astype(np.float64), gains[scored].astype(np.float64)
    means = gains.sum(axis=0) / rows.sum()
    if len(rows) < 2:
        return [Difference(float(mean), None, None) for mean in means]
    sums = drawn_sums(np.column_stack([rows, gains]))
    drawn = sums[:, 1:] / sums[:, :1] - means
    errors = drawn.std(axis=0)
    deviations = np.abs(drawn[:, errors > 0]) / errors[errors > 0]
    widest = float(np.quantile(deviations.max(axis=1), _LEVEL)) if deviations.size else 0.0
    reach = max(widest, _OF_ONE)
    reaches = reach * np.hypot(errors, seed_error)
    return [
        Difference(float(mean), float(mean - own), float(mean + own)) for mean, own in zip(means, reaches, strict=True)
    ]
