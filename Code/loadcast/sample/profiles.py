"""The load each server is meant to have: pure functions of the spec, independent of how many rows are written.

The logarithm of a server's peak load of an hour is a sum: daily shape (by kind of server) × size, less on days off for
business servers, weekly shape, slow trend and season, level shifts, autocorrelated day noise, holidays, bursts, and
noise that no forecast can know. One affine map then places the class thresholds: low up to 100, high above 500, at
fixed quantiles of the first 28 days, so that the three classes occur with every seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadcast.holiday_calendar import holiday_days
from loadcast.sample.spec import SampleSpec
from loadcast.settings import DEMO_SERVERS

Floats = NDArray[np.float64]

LOW_THRESHOLD, HIGH_THRESHOLD = 100.0, 500.0
LOW_SHARE, LOW_AND_MEDIUM_SHARE = 0.53, 0.85
LEAST_LOAD, MOST_LOAD = 0.5, 9_000.0
MEASURES = 6  # sub-services 1 to 5 and secure bytes
CALIBRATION_DAYS = 28
MOST_CALIBRATION_SERVERS = 256

BUSINESS, EVENING, NIGHT_BATCH, COMMUTER, STEADY = range(5)
#: Kind of the n-th server, repeated; the first two are the demo servers.
KIND_CYCLE = np.array([BUSINESS, EVENING, NIGHT_BATCH, COMMUTER, STEADY, BUSINESS, EVENING])
#: Monday to Sunday, by kind of server.
WEEK_SHAPES = np.array(
    [
        [0.05, 0.08, 0.06, 0.04, -0.05, -0.35, -0.45],
        [-0.10, -0.08, -0.05, 0.0, 0.12, 0.22, 0.18],
        [0.0, 0.10, 0.0, 0.10, 0.0, 0.25, -0.30],
        [0.10, 0.05, 0.05, 0.05, 0.0, -0.30, -0.40],
        [0.0, 0.0, 0.0, 0.0, 0.0, -0.10, -0.10],
    ]
)
#: What is left of the daily shape's size on Saturdays, Sundays and holidays, and what a holiday adds, by kind.
DAY_OFF_SIZE = np.array([0.60, 1.05, 1.0, 0.65, 0.9])
HOLIDAY_STEP = np.array([-0.35, 0.25, -0.10, -0.40, -0.05])

DAY_NOISE, DAY_MEMORY = 0.24, 0.75
SHIFT_CHANCE, SHIFT_SIZE, SHIFT_MEMORY = 0.05, 0.30, 0.985
HOUR_NOISE, BLIND_NOISE = 0.20, 0.16
BURST_CHANCE, BURST_LEAST, BURST_MOST = 0.06, 0.5, 1.3
OUTAGE_CHANCE = 0.10
#: The demo servers differ less from day to day, so that any two days suffice to see them in all three classes.
DEMO_WEEK, DEMO_CALM, MOST_DEMO_DRIFT = 0.25, 0.7, 0.22

_PLAN, _DAY = 1, 2  # streams of random numbers


@dataclass(frozen=True)
class ServerPlan:
    """What is fixed for the whole period. Arrays are by server; loads are logarithms before the affine map.

    `shape` is server × 24, `week` server × 7, `drift` day × server; `day_off_size` is what is left of the shape on a
    day off, `holiday_step` what a holiday adds; `scale` and `base` are the affine map to the logarithm of the load;
    `first_hour` and `end_hour` bound each server's life; `mix` is server × 6, the shares of the sub-services in a load.
    """

    addresses: tuple[str, ...]
    kind: NDArray[np.int64]
    shape: Floats
    week: Floats
    day_off_size: Floats
    holiday_step: Floats
    level: Floats
    drift: Floats
    scale: Floats
    base: Floats
    first_hour: NDArray[np.int64]
    end_hour: NDArray[np.int64]
    outages: NDArray[np.bool_]
    mix: Floats


@dataclass(frozen=True)
class DayLoad:
    """One day, server × 24: `peak` is the load of the hour's peak bucket, `traffic` the relative number of sessions."""

    peak: Floats
    traffic: Floats


def build_plan(spec: SampleSpec) -> ServerPlan:
    """Draw every server's character from the spec's seed."""
    rng = np.random.default_rng([spec.seed, _PLAN])
    count = spec.servers
    kind = KIND_CYCLE[np.arange(count) % len(KIND_CYCLE)]
    named = np.arange(count) < len(DEMO_SERVERS)
    weekly, calm = np.where(named, DEMO_WEEK, 1.0), np.where(named, DEMO_CALM, 1.0)
    # Levels are spread evenly over the normal distribution, so that few servers are as mixed as many.
    level = np.where(named, 0.0, 0.55 * _spread_normal(count, rng))
    addresses, mix = _addresses(count, rng), _mixes(count, rng)
    first_hour, end_hour = _lives(spec, rng)
    plan = ServerPlan(
        addresses=addresses,
        kind=kind,
        shape=_daily_shapes(kind, named, rng),
        week=(WEEK_SHAPES[kind] + rng.normal(0, 0.12, (count, 7))) * weekly[:, None],
        day_off_size=1 - (1 - DAY_OFF_SIZE[kind]) * weekly,
        holiday_step=HOLIDAY_STEP[kind] * weekly,
        level=level,
        drift=_drift(spec, calm, rng),
        scale=np.ones(count),
        base=np.zeros(count),
        first_hour=first_hour,
        end_hour=end_hour,
        outages=(np.arange(count) % 8 == 7) & ~named,
        mix=mix,
    )
    return _calibrated(spec, plan, rng)


def day_load(spec: SampleSpec, plan: ServerPlan, day: int) -> DayLoad:
    """Loads and traffic of one day, counted from the spec's start."""
    rng = _day_rng(spec, day)
    log_load = plan.base[:, None] + plan.scale[:, None] * _raw_day(spec, plan, day, rng)
    peak = np.clip(np.exp(log_load), LEAST_LOAD, MOST_LOAD)
    hour = day * 24 + np.arange(24)
    alive = (hour >= plan.first_hour[:, None]) & (hour < plan.end_hour[:, None])
    # Traffic follows load far less than proportionally: a quiet hour of a live server is still seen.
    traffic = np.clip((peak / LOW_THRESHOLD) ** 0.4, 0.25, 4.0)
    traffic[: len(DEMO_SERVERS)] = np.maximum(traffic[: len(DEMO_SERVERS)], 0.75)
    return DayLoad(peak, np.where(alive & ~_outages(plan, rng), traffic, 0.0))


def _raw_day(spec: SampleSpec, plan: ServerPlan, day: int, rng: np.random.Generator) -> Floats:
    """Server × 24 logarithms of load before the affine map."""
    today = (spec.start + timedelta(days=day)).date()
    holiday = today in _holidays(today.year)
    day_off = holiday or today.weekday() >= 5
    size = plan.day_off_size if day_off else np.ones(len(plan.kind))
    season = 0.12 * math.sin(2 * math.pi * (today.timetuple().tm_yday - 60) / 365.25)
    whole_day = plan.level + plan.week[:, today.weekday()] + plan.drift[day] + season + holiday * plan.holiday_step
    noise = _hour_noise(len(plan.kind), rng) + _bursts(plan, rng)
    raw: Floats = size[:, None] * plan.shape + whole_day[:, None] + noise
    return raw


@cache
def _holidays(year: int) -> frozenset[date]:
    return holiday_days("US", year, year)


def _hour_noise(count: int, rng: np.random.Generator) -> Floats:
    white = rng.normal(0, HOUR_NOISE * math.sqrt(3), (count, 26))
    smooth = (white[:, :-2] + white[:, 1:-1] + white[:, 2:]) / 3
    return smooth + rng.normal(0, BLIND_NOISE, (count, 24))


def _bursts(plan: ServerPlan, rng: np.random.Generator) -> Floats:
    count = len(plan.kind)
    start, length = rng.integers(0, 24, count), rng.integers(1, 5, count)
    size = np.where(rng.random(count) < BURST_CHANCE, rng.uniform(BURST_LEAST, BURST_MOST, count), 0.0)
    hour = np.arange(24)
    return np.where((hour >= start[:, None]) & (hour < (start + length)[:, None]), size[:, None], 0.0)


def _outages(plan: ServerPlan, rng: np.random.Generator) -> NDArray[np.bool_]:
    count = len(plan.kind)
    start, length = rng.integers(0, 24, count), rng.integers(3, 15, count)
    down = plan.outages & (rng.random(count) < OUTAGE_CHANCE)
    hour = np.arange(24)
    return down[:, None] & (hour >= start[:, None]) & (hour < (start + length)[:, None])


def _bump(centre: Floats, width: float) -> Floats:
    """A bell over the hours of the day that wraps at midnight; server × 24."""
    distance = np.abs(np.arange(24) - centre[:, None] % 24)
    bell: Floats = np.exp(-((np.minimum(distance, 24 - distance) / width) ** 2) / 2)
    return bell


def _daily_shapes(kind: NDArray[np.int64], named: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    count = len(kind)
    shift = np.where(named, 0.0, rng.normal(0, 0.8, count))
    shapes = np.stack(
        [
            np.maximum(1.15 * _bump(11.0 + shift, 1.7), 0.75 * _bump(15.5 + shift, 2.2)),
            _bump(20.5 + shift, 2.3) + 0.4 * _bump(13.0 + shift, 3.5),
            _bump(2.5 + shift, 2.0) + 0.45 * _bump(14.0 + shift, 4.0),
            _bump(8.5 + shift, 1.8) + 0.9 * _bump(17.5 + shift, 2.2),
            0.6 * _bump(14.0 + shift, 6.0),
        ]
    )
    size = np.where(named, 2.6, rng.uniform(1.6, 2.4, count))
    return np.asarray(shapes[kind, np.arange(count)] * size[:, None])


def _drift(spec: SampleSpec, calm: Floats, rng: np.random.Generator) -> Floats:
    """Day × server: saturating trend, level shifts that fade over months, and day noise with a memory."""
    days, count = max(spec.days, CALIBRATION_DAYS), len(calm)
    slope = rng.normal(0, 0.5, count) * calm
    trend = 0.5 * np.tanh(slope * np.arange(days)[:, None] / 365.25 / 0.5)
    # Day by day, so that a longer period begins with the same days.
    shift, noise = np.zeros(count), rng.normal(0, DAY_NOISE, count) * calm
    fresh = DAY_NOISE * math.sqrt(1 - DAY_MEMORY**2)
    rows = []
    for _ in range(days):
        happens = rng.random(count) < SHIFT_CHANCE
        shift = SHIFT_MEMORY * shift + happens * rng.normal(0, SHIFT_SIZE, count) * calm
        noise = DAY_MEMORY * noise + rng.normal(0, fresh, count) * calm
        rows.append(shift + noise)
    drift = trend + np.stack(rows)
    return np.asarray(np.where(calm < 1, np.clip(drift, -MOST_DEMO_DRIFT, MOST_DEMO_DRIFT), drift))


def _lives(spec: SampleSpec, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and end hour of each server: of every eight, one starts late and one retires early."""
    hours = spec.days * 24
    index = np.arange(spec.servers)
    late, retired = index % 8 == 5, index % 8 == 6
    first = np.where(late, (rng.uniform(0.1, 0.6, spec.servers) * hours).astype(np.int64), 0)
    end = np.where(retired, (rng.uniform(0.4, 0.9, spec.servers) * hours).astype(np.int64), hours)
    return first, np.maximum(end, 1)


def _spread_normal(count: int, rng: np.random.Generator) -> Floats:
    """Golden-ratio points, turned into standard normal ones by the logistic approximation."""
    points = (rng.random() + np.arange(count) * (math.sqrt(5) - 1) / 2) % 1
    points = np.clip(points, 0.01, 0.99)
    return np.asarray(np.log(points / (1 - points)) / 1.702)


def _mixes(count: int, rng: np.random.Generator) -> Floats:
    parts = rng.gamma(1.2, 1.0, (count, MEASURES)) + 0.05
    parts[:, 3][rng.random(count) < 0.3] = 0.0  # some servers lack a sub-service
    return np.asarray(parts / parts.sum(axis=1, keepdims=True))


def _addresses(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    addresses = dict.fromkeys(DEMO_SERVERS)
    while len(addresses) < count:
        a, b, c, d = (int(part) for part in rng.integers([11, 0, 0, 1], [224, 256, 256, 255]))
        if a != 127:
            addresses[f"{a}.{b}.{c}.{d}"] = None
    return tuple(addresses)[:count]


def _calibrated(spec: SampleSpec, plan: ServerPlan, rng: np.random.Generator) -> ServerPlan:
    """Place the thresholds at their quantiles: an affine map for each demo server, and one for all others."""
    named = min(len(DEMO_SERVERS), spec.servers)
    chosen = np.arange(min(spec.servers, MOST_CALIBRATION_SERVERS))
    if spec.servers > MOST_CALIBRATION_SERVERS:
        chosen[named:] = named + rng.permutation(spec.servers - named)[: len(chosen) - named]
    days = range(CALIBRATION_DAYS)
    raw = np.hstack([_raw_day(spec, plan, day, _day_rng(spec, day))[chosen] for day in days])
    scale, base = plan.scale.copy(), plan.base.copy()
    groups = [slice(server, server + 1) for server in range(named)]
    if spec.servers > named:
        groups.append(slice(named, None))
    for group in groups:
        low, high = np.quantile(raw[group], [LOW_SHARE, LOW_AND_MEDIUM_SHARE])
        scale[group] = math.log(HIGH_THRESHOLD / LOW_THRESHOLD) / (high - low)
        base[group] = math.log(LOW_THRESHOLD) - scale[group] * low
    return replace(plan, scale=scale, base=base)


def _day_rng(spec: SampleSpec, day: int) -> np.random.Generator:
    return np.random.default_rng([spec.seed, _DAY, day])
