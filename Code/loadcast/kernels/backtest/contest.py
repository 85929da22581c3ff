"""Whether a new model loses against the one that answers now: both on the same rows, which neither has learned from.

The differences of their scores are drawn anew, over servers as in a backtest, or over days where there are more of
those: hours of one server resemble each other, and so do those of one day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.backtest.bootstrap import drawn_sums, interval
from loadcast.kernels.backtest.summary import BETTER, TIE, WORSE, warning_of_narrow
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.grid import hours_of
from loadcast.kernels.scores import log_losses
from loadcast.kernels.server_codes import server_codes

SERVERS, DAYS = "servers", "days"
#: Smaller differences are ties, however sure: another seed of the same recipe makes as much (Docs/MONITORING.md).
ACCURACY_MARGIN, LOSS_MARGIN = 0.005, 0.01
#: What is summed of a server or a day: rows, then hits and log losses of the challenger and of the champion.
_ROWS, _HITS, _LOSSES = 0, slice(1, 3), slice(3, 5)
_N_SUMS = 5
#: A model's labels (n,) and probabilities (n, 3).
Answers = tuple[NDArray[Any], Float64s]
Sums = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class ContestTally:
    """The sums of each server, and of each day (yyyy-mm-dd); days by the clock of the rows."""

    servers: Sums
    days: Sums

    @classmethod
    def of(cls, rows: pa.Table, challenger: Answers, champion: Answers) -> ContestTally:
        """Of observed rows with the columns ServerIP, SessionStartHourTime and label."""
        truth = rows.column(schema.LABEL).to_numpy()
        hits = (answers[0] == truth for answers in (challenger, champion))
        losses = (log_losses(answers[1], truth) for answers in (challenger, champion))
        values = np.stack([np.ones(len(rows)), *hits, *losses])
        days = (hours_of(rows.column(schema.HOUR)) // 24).astype("datetime64[D]").astype(str)
        return cls(_summed(rows.column(schema.SERVER), values), _summed(pa.chunked_array([pa.array(days)]), values))

    @classmethod
    def none(cls) -> ContestTally:
        """The tally of no rows."""
        return cls({}, {})

    def plus(self, other: ContestTally) -> ContestTally:
        """The sums of both."""
        return ContestTally(_added(self.servers, other.servers), _added(self.days, other.days))

    def as_json(self) -> dict[str, Any]:
        """The sums as plain values; from_json reads them."""
        return {SERVERS: dict(self.servers), DAYS: dict(self.days)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ContestTally:
        """What as_json gave."""
        servers, days = ({name: tuple(sums) for name, sums in content[key].items()} for key in (SERVERS, DAYS))
        return cls(servers, days)


def contest_report(tally: ContestTally) -> dict[str, Any]:
    """The scores of both, their differences (challenger less champion) with intervals, and a verdict.

    The challenger is worse where one difference is on the bad side by more than its margin, and its interval wholly on
    that side; there must be rows.
    """
    unit = SERVERS if len(tally.servers) >= len(tally.days) else DAYS
    by_unit = tally.servers if unit == SERVERS else tally.days
    sums = np.array([by_unit[name] for name in sorted(by_unit)])
    drawn = drawn_sums(sums)
    measures = {
        "accuracy": _measured(sums, drawn, _HITS, ACCURACY_MARGIN),
        "logLoss": _measured(sums, drawn, _LOSSES, -LOSS_MARGIN),
    }
    verdicts = {measure.pop("verdict") for measure in measures.values()}
    return {
        "rows": int(sums[:, _ROWS].sum()),
        "servers": len(tally.servers),
        "days": len(tally.days),
        "unit": unit,
        **measures,
        "verdict": WORSE if WORSE in verdicts else BETTER if BETTER in verdicts else TIE,
        "warning": warning_of_narrow(len(sums), unit),
    }


def _measured(sums: Float64s, drawn: Float64s, values: slice, margin: float) -> dict[str, Any]:
    """A measure of both, with its verdict; more is better, but for a measure with a negative margin.

    `sums` are by unit, `drawn` those of units drawn anew.
    """
    challenger, champion = (sums[:, values].sum(axis=0) / sums[:, _ROWS].sum()).tolist()
    low, high = interval(np.subtract(*drawn[:, values].T) / drawn[:, _ROWS])
    worst, best = sorted((low / margin, high / margin))
    gain = (challenger - champion) / margin
    return {
        "challenger": challenger,
        "champion": champion,
        "difference": challenger - champion,
        "low": low,
        "high": high,
        "verdict": WORSE if best < 0 and gain < -1 else BETTER if worst > 0 and gain > 1 else TIE,
    }


def _summed(groups: pa.ChunkedArray, values: Float64s) -> dict[str, tuple[float, ...]]:
    """Sums of values, (sums, n), by group, (n,)."""
    numbers: dict[str, int] = {}
    codes = server_codes(groups, numbers)
    sums = np.stack([np.bincount(codes, weights=row) for row in values], axis=1)
    return {name: tuple(row) for name, row in zip(numbers, sums.tolist(), strict=True)}


def _added(one: Sums, other: Sums) -> dict[str, tuple[float, ...]]:
    nothing = (0.0,) * _N_SUMS
    return {
        name: tuple(map(sum, zip(one.get(name, nothing), other.get(name, nothing), strict=True)))
        for name in {**one, **other}
    }
