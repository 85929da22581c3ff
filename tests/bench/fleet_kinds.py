"""Made-up fleets of five kinds, by a seed: what a recipe that was found on one real fleet has to stand, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.grid import Grid, hourly_table

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, NDArray[np.int64]], Floats]

_UNOBSERVED = 0.02


def hourly_statistics(kind: str, servers: int, days: int, begin: datetime, seed: int = 1) -> pa.Table:
    """A table of schema.HOURLY_SCHEMA, from `begin`, a midnight, on; a tenth of the servers begin later than that."""
    first = epoch_seconds(begin) // 3_600
    hours = first + np.arange(days * 24)
    random = np.random.default_rng((seed, list(KINDS).index(kind)))
    loads = np.round(np.maximum(KINDS[kind](random, servers, hours), 0.0), 3)
    begins = np.where(random.random(servers) < 0.1, random.integers(0, days * 12, servers), 0)
    observed = (random.random(loads.shape) > _UNOBSERVED) & (np.arange(days * 24) >= begins[:, None])
    peaks = np.zeros((len(schema.PEAKS), loads.size))
    peaks[schema.PEAKS.index(schema.PEAK_LOAD)] = np.where(observed, loads, 0.0).ravel()
    names = tuple(f"10.8.{at // 256}.{at % 256}" for at in range(servers))
    ends = np.full(servers, first), np.full(servers, first + days * 24 - 1)
    return hourly_table(Grid(names, *ends, peaks, observed.ravel()))


def _office(random: np.random.Generator, servers: int, hours: NDArray[np.int64]) -> Floats:
    """People at work: days and weeks alike, little noise, and a day off now and then that all have."""
    hour, day = hours % 24, hours // 24
    begin, length = random.uniform(6, 10, (servers, 1)), random.uniform(7, 11, (servers, 1))
    at_work = 1 / (1 + np.exp(-2 * (hour - begin))) / (1 + np.exp(2 * (hour - begin - length)))
    off = ((day + 3) % 7 > 4) | np.isin(day, random.choice(np.unique(day), len(np.unique(day)) // 25))
    level = random.lognormal(5, 1, (servers, 1))
    return level * (0.1 + at_work * np.where(off, 0.1, 1.0)) * np.exp(_noise(random, servers, len(hours), 0.5, 0.2))


def _batch(random: np.random.Generator, servers: int, hours: NDArray[np.int64]) -> Floats:
    """Jobs: nothing at all but at some hours of each day or of some weekdays, and for two days each 30."""
    hour, day = hours % 24, hours // 24
    loads = np.zeros((servers, len(hours)))
    for server in range(servers):
        for _ in range(random.integers(1, 4)):
            start, lasts = random.integers(0, 24), random.integers(1, 8)
            days = random.random(7) < random.choice([1.0, 0.3])
            late = random.integers(0, 2, len(np.unique(day)))[day - day[0]]
            runs = ((hour - start - late) % 24 < lasts) & days[day % 7]
            loads[server] += runs * random.lognormal(5, 0.7)
        loads[server] += ((day + random.integers(0, 30)) % 30 < 2) * random.lognormal(4, 1)
    return loads * np.exp(_noise(random, servers, len(hours), 0.3, 0.3))


def _drifting(random: np.random.Generator, servers: int, hours: NDArray[np.int64]) -> Floats:
    """Levels that wander without days or weeks, and at times jump."""
    jumps = (random.random((servers, len(hours))) < 0.002) * random.normal(0, 1, (servers, len(hours)))
    level = np.cumsum(random.normal(0, 0.04, (servers, len(hours))) + jumps, axis=1)
    return np.exp(5 + level + _noise(random, servers, len(hours), 0.7, 0.3))


def _growing(random: np.random.Generator, servers: int, hours: NDArray[np.int64]) -> Floats:
    """A site that grows by a tenth a week, with evenings and weekends; from one day on a part of it serves twice."""
    hour, day = hours % 24, hours // 24
    evening = random.normal(20, 2, (servers, 1))
    shape = 0.8 * np.cos(2 * np.pi * (hour - evening) / 24) + 0.3 * ((day + 3) % 7 > 4)
    weeks = (hours - hours[0]) / 168
    launched = (random.random((servers, 1)) < 0.5) & (day > random.choice(np.unique(day)[20:]))
    level = random.normal(4, 1, (servers, 1)) + random.normal(0.1, 0.05, (servers, 1)) * weeks
    return np.exp(level + shape + 0.7 * launched + _noise(random, servers, len(hours), 0.8, 0.2))


def _bursts(random: np.random.Generator, servers: int, hours: NDArray[np.int64]) -> Floats:
    """Idle but for bursts of some hours, which come when they come."""
    begins = random.random((servers, len(hours))) < random.uniform(0.005, 0.03, (servers, 1))
    heights = np.where(begins, random.lognormal(2, 0.8, begins.shape), 0.0)
    loads = np.zeros_like(heights)
    for hour in range(len(hours)):
        before = loads[:, hour - 1] if hour else 0.0
        loads[:, hour] = np.maximum(heights[:, hour], before * 0.85)
    return random.lognormal(3, 1, (servers, 1)) * (1 + loads) * np.exp(_noise(random, servers, len(hours), 0.3, 0.1))


def _noise(random: np.random.Generator, servers: int, hours: int, persistence: float, spread: float) -> Floats:
    """Autoregressive noise of this standard deviation, (servers, hours)."""
    noise = random.normal(0, 1, (servers, hours))
    for hour in range(1, hours):
        noise[:, hour] = persistence * noise[:, hour - 1] + np.sqrt(1 - persistence**2) * noise[:, hour]
    return spread * noise


KINDS: Mapping[str, Draw] = {
    "office": _office,
    "batch": _batch,
    "drifting": _drifting,
    "growing": _growing,
    "bursts": _bursts,
}
