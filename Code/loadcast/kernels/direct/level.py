"""How high and how restless a server's load has been up to the origin."""

from __future__ import annotations

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct.relative import RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.direct.windows import WINDOWS_H, known, ratio, window_largest, window_sums

Columns = dict[str, Float64s]
_LARGEST_H = (6, 24, 72, 168)
_RESTLESS_H = (24, 168)


def level(rows: DirectRows) -> Columns:
    """Mean, spread, largest and shares of classes over the last 6 to 672 hours, as of the origin; and their trend."""
    of_slots = level_of_slots(rows.relative)
    columns = {name: rows.at_origin(values) for name, values in of_slots.items()}
    for recent, before in ((6, 24), (24, 168), (168, 672)):
        columns[f"levelTrend{recent}"] = columns[f"levelMean{recent}"] - columns[f"levelMean{before}"]
    return columns


def level_of_slots(relative: RelativeGrid) -> Columns:
    """The same for every slot as an origin, (slots,) each."""
    positions, classes = relative.positions, relative.classes
    numbers = window_sums(relative, known(positions))
    sums = {
        "Mean": window_sums(relative, positions),
        "Square": window_sums(relative, positions**2),
        "Low": window_sums(relative, (classes == 1).astype(np.float64)),
        "High": window_sums(relative, (classes == 3).astype(np.float64)),
    }
    largest = window_largest(relative, positions)
    columns: Columns = {}
    for hours in WINDOWS_H:
        mean, square, low, high = (ratio(total[hours], numbers[hours]) for total in sums.values())
        columns |= {f"levelMean{hours}": mean, f"levelLow{hours}": low, f"levelHigh{hours}": high}
        columns[f"levelSpread{hours}"] = np.sqrt(np.maximum(square - mean * mean, 0.0))
    columns |= {f"levelMost{hours}": largest[hours] for hours in _LARGEST_H}
    return columns | _restlessness(relative)


def _restlessness(relative: RelativeGrid) -> Columns:
    """Root mean square of the change from hour to hour and from day to day, and how often the class changes."""
    positions, classes = relative.positions, relative.classes
    hourly, daily = (positions - relative.earlier(positions, hours) for hours in (1, 24))
    before = relative.earlier(classes, 1)
    changes = np.where(np.isnan(classes) | np.isnan(before), np.nan, classes != before)
    columns: Columns = {}
    for name, values in (("hourlyChange", hourly**2), ("dailyChange", daily**2), ("classChanges", changes)):
        sums, numbers = window_sums(relative, values), window_sums(relative, known(values))
        for hours in _RESTLESS_H:
            mean = ratio(sums[hours], numbers[hours])
            columns[f"{name}{hours}"] = mean if name == "classChanges" else np.sqrt(mean)
    return columns
