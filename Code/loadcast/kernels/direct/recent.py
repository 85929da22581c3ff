"""The hours just before the origin, and how far they reach: of a near hour they say most, of a far one little."""

from __future__ import annotations

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct.relative import RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.direct.same_hour import mean, share
from loadcast.kernels.direct.windows import ratio

Columns = dict[str, Float64s]
LAST_H = 6
#: What lies longer ago than this says nothing of the origin.
LAST_KNOWN_H = 168
#: The last hours fade with exp(−horizon ÷ τ), for these τ in hours.
FADING_H = (2, 8, 30)
#: Days of changes from the origin's hour to the hour's, as they were on each.
CHANGE_DAYS = 16


def recent(rows: DirectRows) -> Columns:
    """The last six hours, the last observed one and its age, and how long its class has lasted, (n,) each."""
    relative = rows.relative
    columns = {f"last{hours}": rows.at_origin(relative.positions, hours) for hours in range(LAST_H)}
    columns |= {name: rows.at_origin(values) for name, values in last_observed(relative).items()}
    columns["lastAgainstYesterday"] = columns["lastPosition"] - rows.at_origin(relative.positions, 24)
    return columns


def blends(rows: DirectRows) -> Columns:
    """What the last observed hour says, faded into what the same hour of seven days says, (n,) each."""
    relative = rows.relative
    last = {name: rows.at_origin(values) for name, values in last_observed(relative).items()}
    usual = mean(rows.same_hour_positions[:7])
    days_before = rows.known(relative.positions, rows.origins - 24 * np.arange(1, 8)[:, None])
    unusual = last["lastPosition"] - mean(days_before)
    classes = rows.same_hour_classes[:7]
    leaning = share(classes, 3) - share(classes, 1)
    columns: Columns = {}
    for hours in FADING_H:
        weight = np.exp(-rows.horizons / hours)
        columns[f"blendPosition{hours}"] = weight * last["lastPosition"] + (1 - weight) * usual
        columns[f"blendChange{hours}"] = usual + weight * unusual
        columns[f"blendClass{hours}"] = weight * (last["lastClass"] - 2) + (1 - weight) * leaning
    return columns


def usual_changes(rows: DirectRows) -> Columns:
    """What came so many hours after the origin's hour on each of the last days, seen from the last observed hour.

    Shares of low and high, and the mean, of its position with the changes of then; and which class followed upon the
    last observed one, (n,) each.
    """
    relative = rows.relative
    last = {name: rows.at_origin(values) for name, values in last_observed(relative).items()}
    days = rows.youngest_days + np.arange(CHANGE_DAYS)[:, None]
    then, after = rows.origins - 24 * days, rows.slots - 24 * days
    changes = rows.known(relative.positions, after) - rows.known(relative.positions, then)
    moved = last["lastPosition"] + changes
    number = (~np.isnan(moved)).sum(axis=0).astype(np.float64)
    columns = {
        "changeLow": ratio((moved <= 0).sum(axis=0).astype(np.float64), number),
        "changeHigh": ratio((moved > 1).sum(axis=0).astype(np.float64), number),
        "changeMean": mean(moved),
    }
    before, followed = rows.known(relative.classes, then), rows.known(relative.classes, after)
    upon = np.where(before == last["lastClass"], followed, np.nan)
    return columns | {"followedByLow": share(upon, 1), "followedByHigh": share(upon, 3)}


def last_observed(relative: RelativeGrid) -> Columns:
    """Of the last observed hour up to each slot, at most LAST_KNOWN_H before it, (slots,) each.

    Its position and class; its age in hours; and for how many hours, up to LAST_KNOWN_H, its class has been the last
    observed one.
    """
    index = np.arange(len(relative.positions))
    last = np.maximum.accumulate(np.where(np.isnan(relative.positions), -1, index))
    age = index - last
    is_known = (last >= 0) & (age <= np.minimum(relative.slots_before, LAST_KNOWN_H))
    position, label = (
        np.where(is_known, values.take(last), np.nan) for values in (relative.positions, relative.classes)
    )
    changed = ~(label == relative.earlier(label, 1))
    run = np.minimum(index - np.maximum.accumulate(np.where(changed, index, -1)), LAST_KNOWN_H)
    return {
        "lastPosition": position,
        "lastClass": label,
        "lastAge": np.where(is_known, age, np.nan),
        "lastRun": np.where(is_known, run, np.nan),
    }
