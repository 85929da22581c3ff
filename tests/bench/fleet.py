"""Hourly statistics of a made-up fleet: days, weeks, levels that move, bursts, hours without sessions; by a seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.grid import Grid, hourly_table

_PORTION = 100


def hourly_statistics(servers: int, days: int, begin: datetime, seed: int = 1) -> Iterator[pa.Table]:
    """Tables of schema.HOURLY_SCHEMA, some whole servers each, from `begin` (a midnight) on."""
    first = epoch_seconds(begin) // 3_600
    for start in range(0, servers, _PORTION):
        number = min(_PORTION, servers - start)
        loads, observed = _loads(np.random.default_rng((seed, start)), number, first + np.arange(days * 24))
        names = tuple(f"10.{at // 65_536}.{at // 256 % 256}.{at % 256}" for at in range(start, start + number))
        peaks = np.zeros((len(schema.PEAKS), number * days * 24))
        peaks[schema.PEAKS.index(schema.PEAK_LOAD)] = np.where(observed, loads, 0.0).ravel()
        ends = np.full(number, first), np.full(number, first + days * 24 - 1)
        yield hourly_table(Grid(names, *ends, peaks, observed.ravel()))


def _loads(random: np.random.Generator, servers: int, hours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loads and which hours are observed, both (servers, hours)."""
    shape = servers, len(hours)
    peak_hour, strength = random.uniform(0, 24, (servers, 1)), random.uniform(0.1, 1.5, (servers, 1))
    daily = strength * np.cos(2 * np.pi * (hours % 24 - peak_hour) / 24)
    weekend = np.where((hours // 24 + 3) % 7 > 4, -random.uniform(0, 1.2, (servers, 1)), 0.0)
    level = np.cumsum(random.normal(0, 0.02, shape), axis=1) + random.normal(5, 1, (servers, 1))
    noise = random.normal(0, 1, shape)
    for hour in range(1, len(hours)):
        noise[:, hour] += 0.8 * noise[:, hour - 1]
    loads = np.round(np.exp(level + daily + weekend + 0.4 * noise), 3)
    return loads, random.random(shape) > 0.02
