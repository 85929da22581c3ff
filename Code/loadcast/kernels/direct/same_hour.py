"""What the same hour of the last days, and of the last weeks, was like."""

from __future__ import annotations

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.direct.windows import ratio

Columns = dict[str, Float64s]

#: The days that shares, means and spreads are of.
DAYS = (3, 7, 14, 28)
#: A day counts so much of the day after it.
FADING = 0.8
WEEKS = 4
#: Hours beside the same hour of the newest known day, and of the week before.
NEIGHBOURS_H = {"Minus2h": -2, "Minus1h": -1, "Plus1h": 1, "Plus2h": 2}


def same_hour(rows: DirectRows) -> Columns:
    """Positions and classes of the same hour of the newest known days, alone and together, (n,) each."""
    positions, classes = rows.same_hour_positions, rows.same_hour_classes
    columns = {f"sameHour{day}": positions[day] for day in range(7)}
    columns["sameHourClass0"] = classes[0]
    for days in DAYS:
        columns |= _of_days(str(days), positions[:days], classes[:days])
    weights: Float64s = (FADING ** np.arange(len(positions))).astype(np.float64)
    columns["sameHourFaded"] = ratio(
        _added(positions, weights), _added(np.where(np.isnan(positions), np.nan, 1.0), weights)
    )
    return columns


def same_hour_of_week(rows: DirectRows) -> Columns:
    """The same over the same hour of the last four weeks, and the week before's neighbours."""
    slots = rows.slots - 168 * np.arange(1, WEEKS + 1)[:, None]
    relative = rows.relative
    positions, classes = rows.known(relative.positions, slots), rows.known(relative.classes, slots)
    columns = {f"sameHourWeek{week + 1}": positions[week] for week in range(WEEKS)}
    columns["sameHourWeekMean"] = mean(positions)
    columns["sameHourWeekLow"], columns["sameHourWeekHigh"] = share(classes, 1), share(classes, 3)
    for name, hours in NEIGHBOURS_H.items():
        columns[f"weekBefore{name}"] = rows.known(relative.positions, rows.slots - 168 + hours)
        nearest = rows.slots - 24 * rows.youngest_days + hours
        columns[f"dayBefore{name}"] = rows.known(relative.positions, nearest)
    return columns


def mean(values: Float64s) -> Float64s:
    """Mean over the first axis of what is known; NaN where nothing is. Added up in the order of the axis."""
    return ratio(_added(values, np.ones(len(values))), _number(values))


def share(classes: Float64s, label: int) -> Float64s:
    """Which share of the known classes is this one."""
    return ratio((classes == label).sum(axis=0).astype(np.float64), _number(classes))


def _of_days(name: str, positions: Float64s, classes: Float64s) -> Columns:
    average = mean(positions)
    return {
        f"sameHourMean{name}": average,
        f"sameHourSpread{name}": np.sqrt(mean((positions - average) ** 2)),
        f"sameHourLeast{name}": np.fmin.reduce(positions),
        f"sameHourMost{name}": np.fmax.reduce(positions),
        f"sameHourLow{name}": share(classes, 1),
        f"sameHourHigh{name}": share(classes, 3),
    }


def _number(values: Float64s) -> Float64s:
    numbers: Float64s = np.count_nonzero(~np.isnan(values), axis=0).astype(np.float64)
    return numbers


def _added(values: Float64s, weights: Float64s) -> Float64s:
    total: Float64s = np.zeros(values.shape[1:])
    for row, weight in zip(values, weights, strict=True):  # one after the other: the same bits for any n
        total += weight * np.nan_to_num(row)
    return total
