"""The slow stages: sessions → buckets → hourly → daily → features → encodings (Docs/DATA.md, sections 2 to 5).

Plain dicts and loops; sums are exact. Nothing here is shared with the package it checks.
"""

from __future__ import annotations

import decimal
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from oracle.rows import Session

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PEAKS = (
    "peakLoad",
    "peakBytes",
    "peakLoad1",
    "peakLoad2",
    "peakLoad3",
    "peakLoad4",
    "peakLoad5",
    "peakLoadSecure",
)
DAILY = tuple(f"{name}Daily" for name in PEAKS)
LAGS = (48, 49, 50, 51, 52, 55, 60, 67, 72, 96, 168, 730)
LAG_COLUMNS = tuple(f"peakLoadLag{lag}" for lag in LAGS)
ROLLING_COLUMNS = tuple(f"{name}Lag2Win7" for name in DAILY)
CALENDAR = ("year", "month", "dayofmonth", "hourofday", "weekofyear", "dayofweek", "Holiday", "BusinessHour", "Morning")
CATEGORICAL = (
    "dayofweek",
    "ServerIP",
    "year",
    "month",
    "weekofyear",
    "dayofmonth",
    "hourofday",
    "Holiday",
    "BusinessHour",
    "Morning",
)
SCALED_SOURCES = (*LAG_COLUMNS, *ROLLING_COLUMNS)

# A double has at most 767 significant digits, and 2^-1074 … 10^22 spans 1,100: a sum of them never needs rounding here.
EXACT = decimal.Context(prec=1400, traps=[decimal.Inexact, decimal.InvalidOperation])
FOURTEEN_DIGITS = decimal.Context(prec=14, rounding=decimal.ROUND_HALF_EVEN)

Sums = tuple[float, ...]


@dataclass(frozen=True)
class Bucket:
    """Five minutes of one server; `sums` are of TotalLoad, MbytesTransferred, SubService 1…5, SecureBytes."""

    num_session: int
    sums: Sums


Buckets = dict[str, dict[datetime, Bucket]]
#: server → hour or day → the eight values, in time order without holes (hours) or as the days have them (days)
Series = dict[str, dict[datetime, Sums]]


def rounded_sum(values: Iterable[float | None]) -> float:
    """The exact sum of the doubles, rounded once to 14 significant decimal digits; missing values add nothing."""
    total = decimal.Decimal(0)
    for value in values:
        if value is not None:
            total = EXACT.add(total, decimal.Decimal(value))
    return float(FOURTEEN_DIGITS.plus(total))


def make_buckets(sessions: Iterable[Session]) -> Buckets:
    """Sessions by server and 5 minutes of their start."""
    together: dict[str, dict[datetime, list[Session]]] = {}
    for session in sessions:
        start = session.start.replace(minute=session.start.minute // 5 * 5, second=0)
        together.setdefault(session.server, {}).setdefault(start, []).append(session)
    result: Buckets = {}
    for server in sorted(together):
        result[server] = {}
        for start in sorted(together[server]):
            members = together[server][start]
            sums = tuple(rounded_sum(session.numbers[i] for session in members) for i in range(8))
            result[server][start] = Bucket(len(members), sums)
    return result


def make_hourly(buckets: Buckets) -> tuple[Series, dict[str, set[datetime]]]:
    """The eight peaks of every hour of the grid, and the observed hours of each server."""
    hourly: Series = {}
    observed: dict[str, set[datetime]] = {}
    for server, by_start in buckets.items():
        peak: dict[datetime, Bucket] = {}
        for start, bucket in sorted(by_start.items()):
            hour = start.replace(minute=0)
            # Only a larger load takes the place of an earlier bucket: the earliest of equals stays.
            if hour not in peak or bucket.sums[0] > peak[hour].sums[0]:
                peak[hour] = bucket
        observed[server] = set(peak)
        hourly[server] = {}
        hour = min(peak)
        while hour <= max(peak):
            hourly[server][hour] = peak[hour].sums if hour in peak else (0.0,) * 8
            hour += HOUR
    return hourly, observed


def make_daily(hourly: Series) -> Series:
    """Means over each day's grid hours."""
    daily: Series = {}
    for server, by_hour in hourly.items():
        days: dict[datetime, list[Sums]] = {}
        for hour, peaks in by_hour.items():
            days.setdefault(hour.replace(hour=0), []).append(peaks)
        daily[server] = {day: tuple(map(mean, zip(*rows, strict=True))) for day, rows in days.items()}
    return daily


def mean(values: Iterable[float]) -> float:
    """The exact sum, rounded once, over the count."""
    values = list(values)
    return math.fsum(values) / len(values)


def make_label(peak_load: float, low: float, high: float) -> int:
    """1 low, 2 medium, 3 high."""
    if peak_load <= low:
        return 1
    return 3 if peak_load > high else 2


def make_calendar(hour: datetime, holidays: set[date]) -> dict[str, int]:
    """The calendar columns of an hour."""
    return {
        "year": hour.year,
        "month": hour.month,
        "dayofmonth": hour.day,
        "hourofday": hour.hour,
        "weekofyear": iso_week(hour.date()),
        "dayofweek": hour.isoweekday(),
        "Holiday": int(hour.date() in holidays),
        "BusinessHour": int(8 <= hour.hour <= 18),
        "Morning": int(6 <= hour.hour <= 9),
    }


def iso_week(day: date) -> int:
    """ISO 8601: the week's number is that of its Thursday, counted from the first Thursday of the Thursday's year."""
    thursday = day.toordinal() - day.isoweekday() + 4
    new_year = date.fromordinal(thursday).replace(month=1, day=1).toordinal()
    return (thursday - new_year) // 7 + 1


def linear_trend(hour: datetime, train_begin: datetime) -> float:
    """Years of 365.25 days since trainBegin."""
    return (hour - train_begin).total_seconds() / (365.25 * 24 * 3600)


def make_lags(by_hour: dict[datetime, Sums], hour: datetime) -> list[float]:
    """peakLoad of the hours before; 0 where the server's grid has none."""
    return [by_hour[hour - lag * HOUR][0] if hour - lag * HOUR in by_hour else 0.0 for lag in LAGS]


def make_rolling(by_day: dict[datetime, Sums], day: datetime) -> Sums:
    """Means of the daily values of the days D−9 … D−3 that the server has."""
    window = [by_day[day - back * DAY] for back in range(9, 2, -1) if day - back * DAY in by_day]
    if not window:
        return (0.0,) * 8
    return tuple(map(mean, zip(*window, strict=True)))


def make_features(hourly: Series, daily: Series, holidays: set[date], train_begin: datetime) -> dict[str, list]:
    """ServerIP, hour, calendar, linearTrend, lag and rolling columns of every grid hour, by column."""
    names = ("ServerIP", "SessionStartHourTime", *CALENDAR, "linearTrend", *SCALED_SOURCES)
    table: dict[str, list] = {name: [] for name in names}
    for server, by_hour in hourly.items():
        rolling = {day: make_rolling(daily[server], day) for day in daily[server]}
        for hour in by_hour:
            row = {"ServerIP": server, "SessionStartHourTime": hour, "linearTrend": linear_trend(hour, train_begin)}
            row |= make_calendar(hour, holidays)
            row |= zip(LAG_COLUMNS, make_lags(by_hour, hour), strict=True)
            row |= zip(ROLLING_COLUMNS, rolling[hour.replace(hour=0)], strict=True)
            for name in names:
                table[name].append(row[name])
    return table


def order_levels(values: Iterable[object]) -> list[str]:
    """Levels as text, the most frequent first, ties in string order."""
    count = Counter(str(value) for value in values)
    return sorted(count, key=lambda level: (-count[level], level))


def index_of(value: object, levels: list[str]) -> float:
    """Position among the levels; the number of levels for an unseen one."""
    text = str(value)
    return float(levels.index(text) if text in levels else len(levels))


def one_hot(index: float, size: int) -> tuple[int, int | None]:
    """(number of slots, the slot that holds 1): None where all slots are 0."""
    return size, int(index) if index < size else None


def dense(slots: tuple[int, int | None]) -> tuple[float, ...]:
    """The slots of `one_hot` written out."""
    size, hot = slots
    return tuple(1.0 if slot == hot else 0.0 for slot in range(size))


def fit_scale(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n−1); 0 for equal values and for a single one."""
    centre = mean(values)
    if min(values) == max(values):
        return centre, 0.0
    squares = math.fsum((value - centre) ** 2 for value in values)
    return centre, math.sqrt(squares / (len(values) - 1))


def scale(value: float, centre: float, deviation: float) -> float:
    """(value − mean) × (1 ÷ standard deviation); 0 where the deviation is 0."""
    return 0.0 if deviation == 0 else (value - centre) * (1 / deviation)
