"""What working days or weekends, and this time of the week, were like: means of more hours than one of each week.

One hour of four weeks says little: hours beside it, and days of the same kind, make shares of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.calendar import Dates
from loadcast.kernels.direct.relative import STEPS, RelativeGrid
from loadcast.kernels.direct.rows import SAME_HOUR_DAYS, DirectRows
from loadcast.kernels.direct.same_hour import WEEKS, mean, share
from loadcast.kernels.direct.windows import Windows, ratio

Columns = dict[str, Float64s]

#: Hours beside the same hour of the week, itself among them.
BESIDE_H = (-1, 0, 1)
#: The level, by whose change the hours of past weeks are moved, is the mean of so many hours.
LEVEL_H = 24
_SATURDAY = 6


def weekly(rows: DirectRows) -> Columns:
    """Mean and shares of classes of days of the same kind and of the same time of the week, (n,) each.

    The last three are of the same time of the week, moved by how the level has changed since: where a server's load has
    doubled, the weeks before tell of the shape alone.
    """
    relative, weeks = rows.relative, 168 * np.arange(1, WEEKS + 1)[:, None]
    alike = _alike(rows)
    columns = _columns(
        "dayType",
        np.where(alike, rows.same_hour_positions, np.nan),
        np.where(alike, rows.same_hour_classes, np.nan),
    )
    hours = np.concatenate([rows.slots - weeks + beside for beside in BESIDE_H])
    positions = rows.known(relative.positions, hours)
    columns |= _columns("weekNear", positions, rows.known(relative.classes, hours))
    level = _level(relative)
    since = rows.at_origin(level) - rows.known(level, rows.origins - weeks)
    moved = positions + np.tile(since, (len(BESIDE_H), 1))
    return columns | _columns("weekMoved", moved, np.where(np.isnan(moved), np.nan, 1.0 + (moved > 0) + (moved > 1)))


def _columns(name: str, positions: Float64s, classes: Float64s) -> Columns:
    return {f"{name}Mean": mean(positions), f"{name}Low": share(classes, 1), f"{name}High": share(classes, 3)}


def _alike(rows: DirectRows) -> NDArray[np.bool_]:
    """Whether the newest known days, the newest first, are working days or weekends as the hour's, (days, n)."""
    day = rows.relative.grid.day_number[rows.slots // 24]
    earlier = day - (rows.youngest_days + np.arange(SAME_HOUR_DAYS)[:, None])
    alike: NDArray[np.bool_] = _is_weekend(earlier) == _is_weekend(day)
    return alike


def _is_weekend(days: Int64s) -> NDArray[np.bool_]:
    """Of days since 1970."""
    return Dates(days, frozenset()).day_of_week >= _SATURDAY


def _level(relative: RelativeGrid) -> Float64s:
    """The mean position of the LEVEL_H hours up to each slot, (slots,); NaN where none of them is observed."""
    slots = np.arange(len(relative.positions))
    windows = Windows(slots, slots - relative.slots_before)
    total, number = (
        windows.sums(values, LEVEL_H).astype(np.float64)
        for values in (relative.steps, relative.grid.observed.astype(np.int64))
    )
    return ratio(total / STEPS, number)
