"""What is kept of a trial on some folds: hits and losses by server, and what all forecasts said of all servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.backtest.tally import ANSWERS, FoldTally
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.calibration import N_BINS, Calibration
from loadcast.kernels.tally import Counts

_N = len(schema.CLASS_NAMES)
_MOST_ROWS = 2**53


@dataclass(frozen=True, eq=False)
class TrialTally:
    """Sums over the rows of one fold, or of several; all tallies of a tuning are of the same servers.

    `rows`, `hits`, `losses` (servers,): how many forecasts, how many of them right, and minus the sums of the
    logarithms of the true class's probability. `confusion` (answers, 3, 3): rows the true class, columns the one that
    the model and each naive forecast said.
    """

    rows: Int64s
    hits: Int64s
    losses: Float64s
    confusion: Counts
    calibration: Calibration
    training_rows: int

    @classmethod
    def of(cls, tally: FoldTally, servers: Sequence[str]) -> TrialTally:
        """A fold's, as sums of `servers`, which hold its own."""
        at = {name: number for number, name in enumerate(servers)}
        own = [at[name] for name in tally.servers]
        rows, hits, losses = np.zeros(len(servers), np.int64), np.zeros(len(servers), np.int64), np.zeros(len(servers))
        model = tally.by_server[0]
        rows[own], hits[own], losses[own] = model.sum(axis=(1, 2)), np.trace(model, axis1=1, axis2=2), tally.losses
        return cls(rows, hits, losses, tally.confusion, tally.calibration, tally.training_rows)

    @property
    def loss(self) -> float:
        """The losses of all servers together."""
        return float(self.losses.sum())

    @property
    def log_loss(self) -> float:
        """The mean over all rows. There must be some."""
        return self.loss / int(self.rows.sum())

    @property
    def accuracy(self) -> float:
        """The share of hits. There must be rows."""
        return int(self.hits.sum()) / int(self.rows.sum())

    def plus(self, other: TrialTally) -> TrialTally:
        """The sums of both."""
        return TrialTally(
            self.rows + other.rows,
            self.hits + other.hits,
            self.losses + other.losses,
            self.confusion + other.confusion,
            self.calibration.plus(other.calibration),
            self.training_rows + other.training_rows,
        )

    def as_json(self) -> dict[str, Any]:
        """The sums as plain values; from_json reads them."""
        names = ("rows", "hits", "losses", "confusion")
        sums = {name: getattr(self, name).tolist() for name in names}
        return {**sums, "calibration": self.calibration.as_json(), "trainingRows": self.training_rows}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], servers: int) -> TrialTally:
        """What as_json gave of so many servers, or what pretends to be that.

        Raises ValueError for what cannot be the sums of one or more rows.
        """
        rows, hits = (_counts(content, name, (servers,)) for name in ("rows", "hits"))
        losses = _reals(content, "losses", (servers,))
        confusion = _counts(content, "confusion", (len(ANSWERS), _N, _N))
        bins = content.get("calibration")
        if not isinstance(bins, Mapping):
            raise ValueError("calibration: wanted an object")
        calibration = Calibration(
            _counts(bins, "rows", (N_BINS,)),
            _counts(bins, "hits", (N_BINS,)),
            _reals(bins, "confidence", (N_BINS,)),
            float(_reals(bins, "squares", ())),
        )
        total, right = int(rows.sum()), int(hits.sum())
        adds_up = (
            (confusion.sum(axis=(1, 2)) == total).all()
            and (confusion.sum(axis=2) == confusion[0].sum(axis=1)).all()
            and (hits <= rows).all()
            and not losses[rows == 0].any()
            and (calibration.rows.sum(), calibration.hits.sum()) == (total, right) == (total, np.trace(confusion[0]))
        )
        if not adds_up or not total:
            raise ValueError("its numbers do not add up")
        return cls(rows, hits, losses, confusion, calibration, int(_counts(content, "trainingRows", ())))


def _counts(content: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    return _numbers(content, name, shape, "iu").astype(np.int64)


def _reals(content: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Float64s:
    return _numbers(content, name, shape, "iuf").astype(np.float64)


def _numbers(content: Mapping[str, Any], name: str, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    """Numbers from 0 on, of a shape. Raises ValueError for anything else."""
    try:
        numbers = np.array(content.get(name))
    except (ValueError, OverflowError, RecursionError):  # rows of different lengths
        numbers = np.array(None)
    fits = numbers.shape == shape and (numbers.dtype.kind in kinds or not numbers.size)
    if not fits or not ((numbers >= 0) & (numbers < _MOST_ROWS)).all():
        wanted = " × ".join(map(str, shape)) or "one"
        raise ValueError(f"{name}: wanted numbers from 0 on, {wanted}")
    return numbers
