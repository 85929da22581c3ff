"""How high and how restless a server's load has been up to the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.direct.relative import STEPS, RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.direct.windows import WINDOWS_H, Windows, ratio, running

Columns = dict[str, Float64s]
LARGEST_H = (6, 24, 72, 168)
RESTLESS_H = (24, 168)
#: How many of the hours of the longest window are observed.
KNOWN_HOURS = f"knownHours{WINDOWS_H[-1]}"
Bools = NDArray[np.bool_]
TRENDS_H = ((6, 24), (24, 168), (168, 672))


def level(rows: DirectRows) -> Columns:
    """Mean, spread, largest and shares of classes over the last 6 to 672 hours, as of the origin; and their trend."""
    origins, back = np.unique(rows.origins, return_inverse=True)
    # Of an origin before its server's first day nothing is known: the slot is another server's, and may be its origin.
    is_known = rows.origins >= rows.first_slots
    firsts = np.full(len(origins), len(rows.relative.grid.observed))
    firsts[back[is_known]] = rows.first_slots[is_known]
    windows = Windows(origins, firsts)
    columns = _levels(rows.relative, windows) | _restlessness(rows.relative, windows)
    columns = {name: np.where(is_known, column[back], np.nan) for name, column in columns.items()}
    columns[KNOWN_HOURS] = np.nan_to_num(columns[KNOWN_HOURS])
    for recent, before in TRENDS_H:
        columns[f"levelTrend{recent}"] = columns[f"levelMean{recent}"] - columns[f"levelMean{before}"]
    return columns


def _levels(relative: RelativeGrid, windows: Windows) -> Columns:
    positions, classes = relative.steps, relative.classes
    totals = [running(values.astype(np.int64)) for values in (relative.grid.observed, positions, positions * positions)]
    totals += [running((classes == label).astype(np.int64)) for label in (1, 3)]
    columns: Columns = {}
    for hours in WINDOWS_H:
        number, total, squares, *classes_seen = (windows.sums_of(one, hours) for one in totals)
        low, high = (one.astype(np.float64) for one in classes_seen)
        known = number.astype(np.float64)
        columns[KNOWN_HOURS] = known  # at last of the longest
        columns[f"levelMean{hours}"] = ratio(total / STEPS, known)
        columns[f"levelLow{hours}"], columns[f"levelHigh{hours}"] = (ratio(one, known) for one in (low, high))
        columns[f"levelSpread{hours}"] = ratio(np.sqrt(number * squares - total * total) / STEPS, known)
    largest = windows.largest(relative.positions, LARGEST_H)
    return columns | {f"levelMost{hours}": values for hours, values in largest.items()}


def _restlessness(relative: RelativeGrid, windows: Windows) -> Columns:
    """Root mean square of the change from hour to hour and from day to day, and how often the class changes."""
    columns: Columns = {}
    changes = {"hourlyChange": _moves(relative, 1), "dailyChange": _moves(relative, 24)}
    classes = np.nan_to_num(relative.classes).astype(np.int64)
    turned, both = relative.against(classes, 1)
    changes["classChanges"] = (turned != 0).astype(np.int64), both
    for name, (values, known) in changes.items():
        totals = running(values), running(known.astype(np.int64))
        for hours in RESTLESS_H:
            total, number = (windows.sums_of(one, hours).astype(np.float64) for one in totals)
            mean = ratio(total, number)
            columns[f"{name}{hours}"] = mean if name == "classChanges" else np.sqrt(mean) / STEPS
    return columns


def _moves(relative: RelativeGrid, hours: int) -> tuple[Int64s, Bools]:
    """Squares of the change over so many hours, and where both are known."""
    change, both = relative.against(relative.steps, hours)
    return change * change, both
