"""The sets `extended` and `direct`: loads relative to the bounds of their classes, so that they mean the same anywhere.

A forecast of `extended` knows what is 48 hours old, one of `direct` all up to its origin, 1 to 48 hours before. Numbers
are rounded to DECIMALS; what is not known is schema.MISSING.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.direct import level, recent, same_hour, weekly
from loadcast.kernels.direct.columns import GROUPS
from loadcast.kernels.direct.relative import HIGHEST, LOWEST
from loadcast.kernels.direct.rows import SAME_HOUR_DAYS
from loadcast.kernels.direct.windows import WINDOWS_H
from loadcast.kernels.features.dates import HOLIDAY
from loadcast.kernels.features.feature import Compute, Encoding, Feature, Kind
from loadcast.kernels.features.feature_set import FeatureSet, Origin
from loadcast.kernels.features.rows import FeatureRows

DECIMALS = 4
LOOK_BACK_H = 24 * (SAME_HOUR_DAYS + 2) + 24
_SPAN = HIGHEST - LOWEST
_POSITION, _SHARE, _CHANGE, _SIZE = (LOWEST, HIGHEST), (0.0, 1.0), (-_SPAN, _SPAN), (0.0, _SPAN)
_MOVED = (LOWEST - _SPAN, HIGHEST + _SPAN)


@dataclass(frozen=True)
class RelativeColumn:
    """One column of a group of columns that are made together."""

    group: str
    column: str

    def __call__(self, rows: FeatureRows) -> Float64s:
        if self.group not in rows.shared:
            rows.shared[self.group] = GROUPS[self.group](rows.relative)
        values = rows.shared[self.group][self.column]
        return np.where(np.isnan(values), schema.MISSING, np.round(values, DECIMALS))


def _horizon(rows: FeatureRows) -> NDArray[Any]:
    return rows.slots - rows.origins


def _hour(rows: FeatureRows) -> NDArray[Any]:
    return rows.slots % 24


def _weekday(rows: FeatureRows) -> NDArray[Any]:
    return rows.of_day(rows.dates.day_of_week)


def _sine(rows: FeatureRows) -> NDArray[Any]:
    return np.round(np.sin(2 * np.pi * (rows.slots % 24) / 24), DECIMALS)


def _cosine(rows: FeatureRows) -> NDArray[Any]:
    return np.round(np.cos(2 * np.pi * (rows.slots % 24) / 24), DECIMALS)


def _bounds_width(rows: FeatureRows) -> NDArray[Any]:
    relative = rows.relative.relative
    return np.round(relative.widths, DECIMALS).take(rows.codes)


def _calendar(name: str, span: tuple[float, float], meaning: str, compute: Compute, unit: str = "") -> Feature:
    return Feature(name, Kind.CALENDAR, Encoding.PLAIN, unit, meaning, compute, low=span[0], high=span[1])


_CALENDAR = (
    HOLIDAY,
    _calendar("localHour", (0, 23), "of the hour", _hour, "hours"),
    _calendar("weekday", (1, 7), "ISO 8601: 1 Monday … 7 Sunday", _weekday),
    _calendar("hourSine", (-1, 1), "sin(2π · localHour ÷ 24)", _sine),
    _calendar("hourCosine", (-1, 1), "cos(2π · localHour ÷ 24)", _cosine),
)
_HORIZON = _calendar(
    schema.HORIZON, (1, schema.HORIZON_HOURS), "from the forecast's origin to the hour", _horizon, "hours"
)
_WIDTH = Feature(
    "boundsWidth",
    Kind.OTHER,
    Encoding.SCALED,
    "",
    "log(high bound) − log(low bound) of the server",
    _bounds_width,
    low=0,
)


def _relative(group: str, name: str, span: tuple[float, float], unit: str, meaning: str) -> Feature:
    kind = Kind.LAG if name in _LAGS else Kind.ROLLING
    compute, (_, high) = RelativeColumn(group, name), span
    return Feature(name, kind, Encoding.PLAIN, unit, meaning, compute, LOOK_BACK_H, low=schema.MISSING, high=high)


_LAGS = {f"sameHour{day}" for day in range(7)} | {f"last{hours}" for hours in range(recent.LAST_H)}


def _same_hour() -> Iterator[Feature]:
    group = "same_hour"
    for day in range(7):
        yield _relative(
            group, f"sameHour{day}", _POSITION, "position", f"same hour, {day} days before the newest known"
        )
    yield _relative(group, "sameHourClass0", (1, 3), "class", "same hour of the newest known day")
    statistics = {
        "Mean": (_POSITION, "mean"),
        "Spread": (_SIZE, "deviation"),
        "Least": (_POSITION, "smallest"),
        "Most": (_POSITION, "largest"),
        "Low": (_SHARE, "share of low"),
        "High": (_SHARE, "share of high"),
    }
    for days in same_hour.DAYS:
        for name, (span, what) in statistics.items():
            meaning = f"{what} of the same hour of the newest {days} known days"
            yield _relative(group, f"sameHour{name}{days}", span, "position" if span != _SHARE else "share", meaning)
    meaning = f"mean of the same hour of {SAME_HOUR_DAYS} days, each counting {same_hour.FADING} of the day after it"
    yield _relative(group, "sameHourFaded", _POSITION, "position", meaning)


def _weeks() -> Iterator[Feature]:
    group = "same_hour_of_week"
    for week in range(1, same_hour.WEEKS + 1):
        yield _relative(group, f"sameHourWeek{week}", _POSITION, "position", f"{week} weeks before")
    for name, span, what in (("Mean", _POSITION, "mean"), ("Low", _SHARE, "share of low"), ("High", _SHARE, "of high")):
        yield _relative(group, f"sameHourWeek{name}", span, "", f"{what} of the same hour of {same_hour.WEEKS} weeks")
    for name, hours in same_hour.NEIGHBOURS_H.items():
        yield _relative(group, f"weekBefore{name}", _POSITION, "position", f"168 hours before, {hours:+d} h")
        yield _relative(group, f"dayBefore{name}", _POSITION, "position", f"newest known day's same hour, {hours:+d} h")


def _level() -> Iterator[Feature]:
    group = "level"
    for hours in WINDOWS_H:
        for name, span, what in (
            ("Mean", _POSITION, "mean"),
            ("Low", _SHARE, "share of low"),
            ("High", _SHARE, "share of high"),
            ("Spread", _SIZE, "deviation"),
        ):
            yield _relative(group, f"level{name}{hours}", span, "", f"{what} of the {hours} hours up to the origin")
    for hours in level.LARGEST_H:
        yield _relative(group, f"levelMost{hours}", _POSITION, "position", f"largest of {hours} hours up to the origin")
    for hours in level.RESTLESS_H:
        for name, span, what in (
            ("hourlyChange", _SIZE, "root mean square of the change in an hour"),
            ("dailyChange", _SIZE, "root mean square of the change in 24 hours"),
            ("classChanges", _SHARE, "how often the class changes from hour to hour"),
        ):
            yield _relative(group, f"{name}{hours}", span, "", f"{what}, over {hours} hours up to the origin")
    meaning = f"observed hours among the {WINDOWS_H[-1]} up to the origin"
    yield _relative(group, level.KNOWN_HOURS, (0, WINDOWS_H[-1]), "hours", meaning)
    for hours, before in level.TRENDS_H:
        yield _relative(group, f"levelTrend{hours}", _CHANGE, "position", f"levelMean{hours} − levelMean{before}")


def _recent() -> Iterator[Feature]:
    group, most = "recent", recent.LAST_KNOWN_H
    for hours in range(recent.LAST_H):
        yield _relative(group, f"last{hours}", _POSITION, "position", f"{hours} hours before the origin")
    yield _relative(group, "lastPosition", _POSITION, "position", "last observed hour, within a week of the origin")
    yield _relative(group, "lastClass", (1, 3), "class", "of that hour")
    yield _relative(group, "lastAge", (0, most), "hours", "from that hour to the origin")
    yield _relative(group, "lastRun", (0, most), "hours", "how long its class has lasted")
    yield _relative(group, "lastAgainstYesterday", _CHANGE, "position", "lastPosition − that of 24 h before the origin")
    for hours in recent.FADING_H:
        fading = f"fading with exp(−horizonHours ÷ {hours})"
        yield _relative("blends", f"blendPosition{hours}", _POSITION, "position", f"lastPosition into usual, {fading}")
        yield _relative("blends", f"blendChange{hours}", _MOVED, "position", f"usual + what is unusual now, {fading}")
        yield _relative("blends", f"blendClass{hours}", (-1, 1), "class − 2", f"lastClass into usual, {fading}")
    changes = f"lastPosition changed as on the newest {recent.CHANGE_DAYS} known days"
    for name, span, what in (("Low", _SHARE, "share of low"), ("High", _SHARE, "of high"), ("Mean", _MOVED, "mean")):
        yield _relative("usual_changes", f"change{name}", span, "", f"{what} of: {changes}")
    for name in ("Low", "High"):
        meaning = f"how often {name.lower()} followed on those days upon lastClass"
        yield _relative("usual_changes", f"followedBy{name}", _SHARE, "share", meaning)


def _weekly() -> Iterator[Feature]:
    of_days = f"the same hour of alike days among the newest {SAME_HOUR_DAYS} known"
    of_weeks = f"the same hour of {same_hour.WEEKS} weeks and the hours beside it"
    moved = f"{of_weeks}, moved as levelMean{weekly.LEVEL_H} since"
    for name, span, what in (
        ("dayType", _POSITION, of_days),
        ("weekNear", _POSITION, of_weeks),
        ("weekMoved", _MOVED, moved),
    ):
        yield _relative("weekly", f"{name}Mean", span, "position", f"mean of {what}")
        yield _relative("weekly", f"{name}Low", _SHARE, "share", f"share of low of {what}")
        yield _relative("weekly", f"{name}High", _SHARE, "share", f"share of high of {what}")


_HISTORY = (*_same_hour(), *_weeks(), *_level())
EXTENDED = FeatureSet(
    "extended",
    1,
    (*_CALENDAR, *_HISTORY, _WIDTH),
    categories=(HOLIDAY.name,),
    simulates_cutoffs=True,
    known_hours=level.KNOWN_HOURS,
)


def _direct(version: int, features: tuple[Feature, ...]) -> FeatureSet:
    return FeatureSet(
        "direct",
        version,
        (_HORIZON, *_CALENDAR, *_HISTORY, *features, _WIDTH),
        categories=(HOLIDAY.name,),
        simulates_cutoffs=True,
        origin=Origin.FORECAST,
        known_hours=level.KNOWN_HOURS,
    )


DIRECT = _direct(2, (*_recent(), *_weekly()))
#: What models were trained with before; they are served as ever.
DIRECT_1 = _direct(1, tuple(_recent()))
