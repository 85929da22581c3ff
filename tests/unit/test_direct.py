"""Features of a forecast from an origin: each as an oracle has it, and none of what is younger than the origin."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from direct_oracle import Knowledge, features
from grids import grid_of, random_sessions, session
from loadcast.kernels.direct.columns import columns_of
from loadcast.kernels.direct.relative import RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.grid import Grid
from loadcast.kernels.label_history import learned_rule
from loadcast.kernels.labels import LabelQuantiles, LabelRule

FAR = 10**9
STEADY = "10.0.0.7"


def made(seed: int) -> tuple[Grid, LabelRule]:
    """Servers that start late, stop early and fall silent, and a steady one; bounds of their own if old enough."""
    drawn = random.Random(seed)
    hours = sorted(drawn.sample(range(50 * 24), 1000))
    steady = [session(STEADY, hour, drawn.choice((0.0, 0.3, 90.0, drawn.uniform(0, 900)))) for hour in hours]
    grid = grid_of([*random_sessions(seed, servers=3, days=60, number=2400), *steady])
    return grid, learned_rule([grid], LabelQuantiles("perServer", 0.5, 0.85, FAR))


def drawn_rows(grid: Grid, rule: LabelRule, seed: int, number: int) -> DirectRows:
    """Hours of all servers, from origins 1 to 48 hours before, now and then before their first day."""
    drawn = np.random.default_rng(seed)
    slots = drawn.integers(0, len(grid.hours), number)
    return DirectRows(RelativeGrid(grid, rule), slots, slots - drawn.integers(1, 49, number))


@pytest.mark.parametrize("seed", range(2))
def test_every_column_is_as_the_oracle_has_it(seed: int) -> None:
    grid, rule = made(seed)
    rows = drawn_rows(grid, rule, seed, 60)
    columns = columns_of(rows)
    loads: dict[int, dict[int, float]] = {}
    for slot in np.flatnonzero(grid.observed).tolist():
        loads.setdefault(int(grid.day_server[slot // 24]), {})[int(grid.hours[slot])] = float(grid.peaks[0, slot])
    for row, (slot, horizon) in enumerate(zip(rows.slots.tolist(), rows.horizons.tolist(), strict=True)):
        server, hour = int(grid.day_server[slot // 24]), int(grid.hours[slot])
        wanted = features(Knowledge(loads[server], rule, grid.servers[server], hour - horizon), hour)
        assert set(wanted) == set(columns)
        for name, value in wanted.items():
            number = np.nan if value is None else value
            np.testing.assert_allclose(columns[name][row], number, rtol=1e-9, atol=1e-7, err_msg=f"{name}, row {row}")


def test_nothing_younger_than_the_origin_changes_a_column() -> None:
    grid, rule = made(3)
    origin = int(grid.day_begins[grid.servers.index(STEADY)]) * 24 + 40 * 24 + 5
    before = np.arange(len(grid.hours)) <= origin
    slots = origin + np.arange(1, 49)
    slots = slots[grid.day_server[slots // 24] == grid.day_server[origin // 24]]
    rows = [
        DirectRows(RelativeGrid(other, rule), slots, np.full(len(slots), origin))
        for other in (
            grid,
            replace(grid, peaks=np.where(before, grid.peaks, 7.0), observed=grid.observed | ~before),
            replace(grid, peaks=np.where(before, grid.peaks, 0.0), observed=grid.observed & before),
        )
    ]
    wanted, *others = map(columns_of, rows)
    assert all(np.isfinite(values).any() for values in wanted.values())
    for other in others:
        for name, values in wanted.items():
            np.testing.assert_array_equal(other[name], values, err_msg=name)


def test_a_client_that_knows_thirty_days_has_the_same_bits() -> None:
    grid, rule = made(4)
    server = grid.servers.index(STEADY)
    begin, days = int(grid.day_begins[server]), int(grid.days[server])
    skipped = days - 31
    kept = slice((begin + skipped) * 24, (begin + days) * 24)
    first, last = grid.first_day[server] + skipped, grid.last[server]
    short = Grid((grid.servers[server],), first[None] * 24, last[None], grid.peaks[:, kept], grid.observed[kept])
    slots = np.arange(30 * 24, 31 * 24)
    near = DirectRows(RelativeGrid(short, rule), slots, np.full(24, 30 * 24 - 1))
    far = DirectRows(RelativeGrid(grid, rule), slots + kept.start, near.origins + kept.start)
    actual = columns_of(near)
    for name, values in columns_of(far).items():
        np.testing.assert_array_equal(actual[name], values, err_msg=name)


@pytest.mark.parametrize("ahead", [0, 49])
def test_hours_too_near_or_too_far_are_refused(ahead: int) -> None:
    grid, rule = made(5)
    with pytest.raises(ValueError, match="hours 1 to 48"):
        DirectRows(RelativeGrid(grid, rule), np.array([100]), np.array([100 - ahead]))
