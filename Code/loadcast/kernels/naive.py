"""Naive forecasts of hours, each from its origin: what any model has to beat, as columns beside its features.

Each says a class, 1 to 3, or 0 where it knows nothing. None looks beyond the origin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct.recent import last_observed
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.same_hour import most_counted

#: As those of classic rows, whose hours all know what is 48 hours old.
SAME_AS_48H, SAME_AS_168H = "sameClassAs48hBefore", "sameClassAs168hBefore"
#: The commonest class of the same hour over so many days, the newest of them 48 hours before.
SAME_HOUR = {"mostFrequentOfSameHour7Days": 7, "mostFrequentOfSameHour28Days": 28}
HOUR_OF_WEEK = "mostFrequentOfHourOfWeek"
#: Those of an origin: of the last observed hour; of the same hour of the newest known day, and of days up to it.
LAST_CLASS, NEWEST_DAY = "classOfLastObservedHour", "sameHourOfNewestDay"
NEWEST_DAYS = {"mostFrequentOfNewest7Days": 7, "mostFrequentOfNewest28Days": 28}
NAIVE_COLUMNS = (SAME_AS_48H, SAME_AS_168H, *SAME_HOUR, HOUR_OF_WEEK, LAST_CLASS, NEWEST_DAY, *NEWEST_DAYS)
_CLASSES = (1, 2, 3)
_HOURS_OF_WEEK = 168

Answers = NDArray[np.int32]


def naive_columns(rows: DirectRows, known_until: int) -> dict[str, Answers]:
    """Name of NAIVE_COLUMNS → answers, (n,).

    The commonest class of the server's hour of the week is that of all hours before `known_until` (since 1970), which
    must not be after any row's origin.
    """
    relative = rows.relative
    days = 24 * np.arange(max(SAME_HOUR.values()))[:, None]
    old, new = rows.known(relative.classes, rows.slots - 48 - days), rows.same_hour_classes
    said = {
        SAME_AS_48H: _said(old[0]),
        SAME_AS_168H: _said(rows.known(relative.classes, rows.slots - 168)),
        **{name: commonest(old[:number]) for name, number in SAME_HOUR.items()},
        HOUR_OF_WEEK: _of_hour_of_week(rows, known_until),
        LAST_CLASS: _said(rows.at_origin(last_observed(relative)["lastClass"])),
        NEWEST_DAY: _said(new[0]),
        **{name: commonest(new[:number]) for name, number in NEWEST_DAYS.items()},
    }
    return {name: said[name] for name in NAIVE_COLUMNS}


def commonest(classes: Float64s) -> Answers:
    """The commonest of the known classes along the first axis, the lower of equals; 0 where none is known."""
    often = np.stack([np.count_nonzero(classes == label, axis=0) for label in _CLASSES])
    return most_counted(often).astype(np.int32)


def _said(classes: Float64s) -> Answers:
    return np.nan_to_num(classes).astype(np.int32)


def _of_hour_of_week(rows: DirectRows, known_until: int) -> Answers:
    relative, grid = rows.relative, rows.relative.grid
    known = grid.observed & (grid.hours < known_until)
    weekly = relative.slot_server * _HOURS_OF_WEEK + grid.hours % _HOURS_OF_WEEK
    cells = weekly[known] * len(_CLASSES) + relative.classes[known].astype(np.int64) - 1
    size = len(grid.servers) * _HOURS_OF_WEEK
    counts = np.bincount(cells, minlength=size * len(_CLASSES)).reshape(size, len(_CLASSES))
    usual: Answers = most_counted(counts, axis=1)[weekly[rows.slots]].astype(np.int32)
    return usual
