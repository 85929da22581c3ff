"""What is counted of one fold: how often each forecast says what, by server and by horizon, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.evaluation import MOST_FREQUENT
from loadcast.kernels.grid import hours_of
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.scores import log_losses
from loadcast.kernels.tally import MODEL, Codes, Counts

#: The forecasts that are compared; the model is the first.
NAIVE = (*NAIVE_COLUMNS, MOST_FREQUENT)
ANSWERS = (MODEL, *NAIVE)
#: The columns that are counted, besides the model's answers. All rows have to be observed ones.
COUNTED = (schema.SERVER, schema.HOUR, schema.FORECAST_ORIGIN, schema.LABEL, *NAIVE_COLUMNS)
_N = len(schema.CLASS_NAMES)
_HORIZONS = schema.HORIZON_HOURS + 1


@dataclass(frozen=True, eq=False)
class FoldTally:
    """Counts of one fold, or of several.

    `by_server` (answers, servers, 3, 3) and `by_horizon` (answers, horizons from 0 on, 3, 3): rows the true class,
    columns the forecast one. `losses` (servers,) are minus the sums of the logarithms of the true class's probability.
    """

    servers: tuple[str, ...]
    by_server: Counts
    by_horizon: Counts
    losses: Float64s
    calibration: Calibration
    training_rows: int

    @property
    def confusion(self) -> Counts:
        """Of all servers together, (answers, 3, 3)."""
        total: Counts = self.by_server.sum(axis=1)
        return total

    @property
    def loss(self) -> float:
        """The losses of all servers together."""
        return float(self.losses.sum())

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values; from_json reads them."""
        return {
            "servers": list(self.servers),
            "byServer": self.by_server.tolist(),
            "byHorizon": self.by_horizon.tolist(),
            "losses": self.losses.tolist(),
            "calibration": self.calibration.as_json(),
            "trainingRows": self.training_rows,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FoldTally:
        """What as_json gave."""
        servers = tuple(content["servers"])
        shape = (len(ANSWERS), len(servers), _N, _N)
        return cls(
            servers,
            np.array(content["byServer"], dtype=np.int64).reshape(shape),
            np.array(content["byHorizon"], dtype=np.int64),
            np.array(content["losses"], dtype=np.float64),
            Calibration.from_json(content["calibration"]),
            content["trainingRows"],
        )

    def plus(self, other: FoldTally) -> FoldTally:
        """The counts of both; servers by name."""
        servers = tuple(sorted({*self.servers, *other.servers}))
        at = {name: number for number, name in enumerate(servers)}
        by_server, losses = np.zeros((len(ANSWERS), len(servers), _N, _N), dtype=np.int64), np.zeros(len(servers))
        for part in (self, other):
            own = [at[name] for name in part.servers]
            by_server[:, own] += part.by_server
            losses[own] += part.losses
        return FoldTally(
            servers,
            by_server,
            self.by_horizon + other.by_horizon,
            losses,
            self.calibration.plus(other.calibration),
            self.training_rows + other.training_rows,
        )


class FoldCounter:
    """Counts a fold's rows, portion by portion; a naive forecast without an answer says `commonest`, 1 to 3."""

    def __init__(self, commonest: int, training_rows: int) -> None:
        self._commonest = commonest
        nothing = np.zeros((len(ANSWERS), 0, _N, _N), dtype=np.int64)
        horizons = np.zeros((len(ANSWERS), _HORIZONS, _N, _N), dtype=np.int64)
        self._tally = FoldTally((), nothing, horizons, np.zeros(0), Calibration.none(), training_rows)

    def add(self, rows: pa.Table, labels: Codes, probabilities: NDArray[np.float64]) -> None:
        """Add observed rows with the columns COUNTED and the model's answers: labels (n,), probabilities (n, 3)."""
        if not len(rows):
            return
        servers = rows.column(schema.SERVER).combine_chunks().dictionary_encode()
        truth = rows.column(schema.LABEL).to_numpy().astype(np.intp)
        horizons = hours_of(rows.column(schema.HOUR)) - hours_of(rows.column(schema.FORECAST_ORIGIN))
        said = np.stack([labels, *(self._naive(rows, name) for name in NAIVE)]) - 1
        names, codes = tuple(servers.dictionary.to_pylist()), servers.indices.to_numpy().astype(np.intp)
        part = FoldTally(
            names,
            _counted(codes, len(names), truth - 1, said),
            _counted(horizons.astype(np.intp), _HORIZONS, truth - 1, said),
            np.bincount(codes, log_losses(probabilities, truth), len(names)).astype(np.float64),
            Calibration.of(truth, labels, probabilities),
            0,
        )
        self._tally = self._tally.plus(part)

    def tally(self) -> FoldTally:
        """All that was counted."""
        return self._tally

    def _naive(self, rows: pa.Table, name: str) -> NDArray[Any]:
        if name == MOST_FREQUENT:
            return np.full(len(rows), self._commonest)
        answers = rows.column(name).to_numpy()
        return np.where(answers == 0, self._commonest, answers)


def _counted(groups: Codes, number: int, truth: Codes, said: NDArray[Any]) -> Counts:
    """Counts by group: (n,), (n,), (answers, n) → (answers, number, 3, 3)."""
    cells = (groups * _N + truth) * _N
    shape = (number, _N, _N)
    return np.stack([np.bincount(cells + one, minlength=number * _N * _N).reshape(shape) for one in said])
