"""The commonest class of the same hour of the day over the last days: a naive forecast, from nothing but classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema

Codes = NDArray[np.intp]
#: The youngest day that counts is the one of the hour 48 hours before: what a forecast of two days knows of every hour.
_YOUNGEST_DAYS = schema.HORIZON_HOURS // 24
_N = len(schema.CLASS_NAMES)


def commonest_of_same_hour(
    codes: Codes, hours: NDArray[np.int64], labels: NDArray[np.int8], windows_days: Sequence[int]
) -> list[NDArray[np.int8]]:
    """For each window of days, what class each row's server had most often at that hour of the day.

    A row is an observed hour of a server, each at most once, in any order: `codes` of servers from 0, `hours` since
    1970 and `labels` 1, 2 or 3, (n,) each. The window of d days is the d hours 48, 72, … hours before the row's. Of
    equally common classes the lower counts; hours without a row are left out, and where none is left the answer is 0.
    """
    if not len(codes):
        return [np.zeros(0, dtype=np.int8) for _ in windows_days]
    begins, first_days = _days_of_servers(codes, hours // 24)
    day, hour = hours // 24 - first_days[codes], hours % 24
    counts = np.zeros((_N, int(begins[-1]) + 1, 24), dtype=np.int32)
    counts[labels.astype(np.intp) - 1, begins[codes] + day + 1, hour] = 1
    np.cumsum(counts, axis=1, out=counts)  # [class, i, hour]: how often in the first i days of all servers together
    return [_commonest(counts, begins[codes], day, hour, window) for window in windows_days]


def most_counted(often: NDArray[Any], axis: int = 0) -> NDArray[np.int8]:
    """The class that is counted most along the axis of classes, the lower of equals; 0 where none is counted."""
    return np.where(often.any(axis=axis), often.argmax(axis=axis) + 1, 0).astype(np.int8)


def _days_of_servers(codes: Codes, days: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each server's days begin among those of all, and at last where they end; and each server's first day."""
    servers = int(codes.max()) + 1
    first, last = np.full(servers, np.iinfo(np.int64).max), np.full(servers, np.iinfo(np.int64).min)
    np.minimum.at(first, codes, days)
    np.maximum.at(last, codes, days)
    numbers = np.where(last < first, 0, last - first + 1)
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(numbers))), first


def _commonest(
    counts: NDArray[np.int32], begins: NDArray[np.int64], day: NDArray[np.int64], hour: NDArray[np.int64], window: int
) -> NDArray[np.int8]:
    end = np.maximum(day - _YOUNGEST_DAYS + 1, 0)
    begin = np.maximum(end - window, 0)
    often = np.stack([total[begins + end, hour] - total[begins + begin, hour] for total in counts])
    return most_counted(often)
