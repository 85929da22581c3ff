"""How often each forecast said what, beside the truth, by the hour it was made and the hour it was for."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s

_N = len(schema.CLASS_NAMES)
#: What a forecast that called the true class impossible loses is bounded: one such hour must not decide a week.
_SMALLEST_PROBABILITY = 1e-4


@dataclass(frozen=True, eq=False)
class Verified:
    """Counts of J forecasts of which the truth is known; those of some servers or files add up.

    A row is an origin, the last hour that a forecast could know, and an hour that it was for, both since 1970:
    `origins` and `hours`, (m,), by hour and then origin, no pair twice. `counts`, (m, J, 3, 4): for each forecast, rows
    the true class, columns no answer and then the answered class. The first forecast is the model's: `loss`, (m,), is
    minus the sum of the logarithms of the probabilities that it gave to the true classes.
    """

    origins: Int64s
    hours: Int64s
    counts: Int64s
    loss: Float64s

    @classmethod
    def of(
        cls, origins: Int64s, hours: Int64s, truth: NDArray[Any], said: NDArray[Any], likelihood: Float64s
    ) -> Verified:
        """Those of n forecast hours: true classes 1 to 3 (n,), answers (J, n), 0 for none, and the model's probability
        of the true class (n,).
        """
        pairs, row = np.unique(np.stack((hours, origins), axis=1), axis=0, return_inverse=True)
        m, j = len(pairs), len(said)
        row = row.reshape(-1)
        cells = ((row * j + np.arange(j)[:, None]) * _N + truth.astype(np.int64) - 1) * (_N + 1) + said
        counts = np.bincount(cells.ravel(), minlength=m * j * _N * (_N + 1)).reshape(m, j, _N, _N + 1)
        loss = np.bincount(row, -np.log(np.maximum(likelihood, _SMALLEST_PROBABILITY)), minlength=m)
        return cls(pairs[:, 1], pairs[:, 0], counts.astype(np.int64), loss.astype(np.float64))

    @classmethod
    def none(cls, forecasts: int) -> Verified:
        """Those of no rows."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros((0, forecasts, _N, _N + 1), dtype=np.int64), np.zeros(0))

    def plus(self, other: Verified) -> Verified:
        """The counts of both."""
        pairs = np.stack(
            (np.concatenate((self.hours, other.hours)), np.concatenate((self.origins, other.origins))), axis=1
        )
        pairs, row = np.unique(pairs, axis=0, return_inverse=True)
        row = row.reshape(-1)
        counts = np.zeros((len(pairs), *self.counts.shape[1:]), dtype=np.int64)
        np.add.at(counts, row, np.concatenate((self.counts, other.counts)))
        loss = np.bincount(row, np.concatenate((self.loss, other.loss)), minlength=len(pairs))
        return Verified(pairs[:, 1], pairs[:, 0], counts, loss.astype(np.float64))

    def chosen(self, rows: NDArray[Any]) -> Verified:
        """Some of the rows: a mask, or their numbers in order."""
        return Verified(self.origins[rows], self.hours[rows], self.counts[rows], self.loss[rows])

    def as_json(self) -> dict[str, Any]:
        """The counts as plain values; from_json reads them. Most are 0: as compressed bytes they take a tenth."""
        return {name: _packed(getattr(self, name)) for name in ("origins", "hours", "counts", "loss")}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], forecasts: int) -> Verified:
        """What as_json gave; `forecasts` is J, which a document without rows does not say."""
        origins, hours, counts = (_unpacked(content[name], np.int64) for name in ("origins", "hours", "counts"))
        loss = _unpacked(content["loss"], np.float64)
        return cls(origins, hours, counts.reshape(len(hours), forecasts, _N, _N + 1), loss)

    def answered(self, commonest: int) -> Verified:
        """The same where naive forecasts without an answer say the commonest class."""
        counts = self.counts.copy()
        counts[:, 1:, :, commonest] += counts[:, 1:, :, 0]
        counts[:, 1:, :, 0] = 0
        return Verified(self.origins, self.hours, counts, self.loss)

    def until(self, origins: Int64s, window_h: int) -> Int64s:
        """For each origin o, (n,), the counts of all forecasts of the hours after o − window_h up to o: (n, J, 3, 4).

        These are what is known at the origin: nothing that was for a younger hour counts.
        """
        total = np.zeros((len(self.hours) + 1, *self.counts.shape[1:]), dtype=np.int64)
        np.cumsum(self.counts, axis=0, out=total[1:])
        end, begin = (np.searchsorted(self.hours, at, "right") for at in (origins, origins - window_h))
        within: Int64s = total[end] - total[begin]
        return within


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(values.astype(values.dtype.newbyteorder("<")).tobytes(), 1)).decode()


def _unpacked(text: str, dtype: type) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.dtype(dtype).newbyteorder("<")).astype(dtype)
