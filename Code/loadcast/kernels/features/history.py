"""Features of the server's own past load: lags and rolling means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadcast import schema
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.features.feature import Encoding, Feature, Kind
from loadcast.kernels.features.rows import FeatureRows


@dataclass(frozen=True)
class Lag:
    """peakLoad of the whole hour that starts `lag_h` hours earlier; 0 where the server has no such hour."""

    lag_h: int

    def __call__(self, rows: FeatureRows) -> Float64s:
        return rows.of_hours_before(rows.peaks(schema.PEAK_LOAD), self.lag_h)


@dataclass(frozen=True)
class RollingMean:
    """Mean of a measure's daily means over the days D−first_day … D−last_day that the server has; 0 if it has none.

    Each window is added up on its own, oldest day first: a running sum would carry in the rounding of older days, and
    the client, which starts at another day, would get other last bits.
    """

    measure: str
    first_day: int
    last_day: int

    def __call__(self, rows: FeatureRows) -> Float64s:
        daily = rows.daily(self.measure)
        total, number = np.zeros(len(daily)), np.zeros(len(daily), dtype=np.int64)
        for lag_days in range(self.first_day, self.last_day - 1, -1):
            total += rows.of_days_before(daily, lag_days)
            number += rows.days_before >= lag_days
        means: Float64s = (total / np.maximum(number, 1)).take(rows.days)
        return means


def lag(lag_h: int) -> Feature:
    """The load of `lag_h` hours earlier."""
    name = f"{schema.PEAK_LOAD}Lag{lag_h}"
    meaning = f"{schema.PEAK_LOAD} {lag_h} *hours* earlier; 0 before the server's first hour"
    return Feature(name, Kind.LAG, Encoding.SCALED, "load units", meaning, Lag(lag_h), look_back_h=lag_h)


def rolling_mean(name: str, measure: str, first_day: int, last_day: int) -> Feature:
    """The mean of some whole days."""
    meaning = f"mean of {measure}Daily over the days D−{first_day} … D−{last_day} that the server has; 0 if it has none"
    unit = "megabytes" if measure == schema.PEAKS[1] else "load units"
    compute = RollingMean(measure, first_day, last_day)
    return Feature(name, Kind.ROLLING, Encoding.SCALED, unit, meaning, compute, look_back_h=first_day * 24 + 23)
