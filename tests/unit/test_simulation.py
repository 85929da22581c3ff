"""Simulated cutoffs: nothing of a view changes with what comes after it; draws do not depend on how data is cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grids import RULE, grid_of, random_sessions, session
from loadcast import schema
from loadcast.kernels.features import DIRECT, EXTENDED, FeatureSet
from loadcast.kernels.features.check import check_feature_set
from loadcast.kernels.features.feature_set import Origin
from loadcast.kernels.grid import Grid, grid_of_loads, hours_of, loads_table
from loadcast.kernels.labels import ABSOLUTE, PER_SERVER, QUANTILE, Bounds, LabelRule
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.simulation.draw import Draw, density
from loadcast.kernels.simulation.sketch import Sketch
from loadcast.kernels.simulation.tables import Simulation, between
from loadcast.kernels.simulation.views import PLACEMENTS, View, cutoffs, views

DAYS = 45
#: Servers that start late, stop early and fall silent, and one that is always there.
STEADY = "10.0.0.77"
GRID = grid_of(
    [
        *random_sessions(5, servers=3, days=DAYS, number=2000),
        *(session(STEADY, hour, 50.0 + hour % 24 * 20) for hour in range(-24, (DAYS + 1) * 24)),
    ]
)
BEGIN = int(GRID.first.min()) // 24 * 24
SPLIT = BEGIN + 38 * 24
END = BEGIN + DAYS * 24
CUTOFFS = cutoffs(BEGIN, SPLIT, schema.HORIZON_HOURS)


def asked(rule: str) -> View:
    return View(0, 0, 0, rule, 0.5, 0.85, Bounds(100.0, 300.0))


def simulated(grid: Grid, rule: str = PER_SERVER, features: FeatureSet = DIRECT, share: float = 0.1) -> Simulation:
    found = tuple(views(Sketch.of(grid, CUTOFFS), SPLIT, asked(rule), seed=1))
    draw = Draw(share, features.origin, seed=1)
    return Simulation(features, RULE, found, draw, LabelRule.absolute(100, 300), SPLIT, END, 6)


def changed_after(grid: Grid, hour: int, seed: int = 2) -> Grid:
    """The grid with other loads, some of them gone, from `hour` on."""
    drawn = np.random.default_rng(seed)
    later = grid.in_grid & (grid.hours >= hour)
    observed = np.where(later, drawn.random(len(later)) < 0.8, grid.observed)
    loads = np.where(later, drawn.gamma(2.0, 400.0, grid.peaks.shape), grid.peaks)
    return replace(grid, peaks=np.where(observed, loads, 0.0), observed=observed)


# --- views ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [ABSOLUTE, QUANTILE, PER_SERVER])
@pytest.mark.parametrize("cutoff", CUTOFFS[1::2])
def test_no_session_after_a_cutoff_changes_its_bounds_or_features(rule: str, cutoff: int) -> None:
    other = changed_after(GRID, cutoff)
    one, two = simulated(GRID, rule, share=1.0), simulated(other, rule, share=1.0)
    seen = [view for view in one.views if view.begin == cutoff]
    assert len(seen) == 1 + PLACEMENTS
    assert seen == [view for view in two.views if view.begin == cutoff]
    for view in seen:
        assert view.rule(GRID) == view.rule(other)
    # Of the hours right after the cutoff, from the origin before it, only the truth may differ.
    first = np.flatnonzero(GRID.in_grid & (GRID.hours >= cutoff) & (GRID.hours < cutoff + 48))
    chosen = first, first - (GRID.hours[first] - cutoff + 1)
    tables = [made._table(grid, chosen, seen[1].rule(grid), cutoff) for made, grid in ((one, GRID), (two, other))]
    known = [*DIRECT.names, *NAIVE_COLUMNS, schema.FORECAST_ORIGIN]
    assert tables[0].select(known).equals(tables[1].select(known))


@pytest.mark.parametrize("features", [DIRECT, EXTENDED])
def test_rows_know_nothing_younger_than_their_origin(features: FeatureSet) -> None:
    table = pa.concat_tables(simulated(GRID, features=features).tables(GRID))
    hours, origins = hours_of(table.column(schema.HOUR)), hours_of(table.column(schema.FORECAST_ORIGIN))
    ahead = hours - origins
    assert (ahead.min(), ahead.max()) == ((1, 48) if features.origin is Origin.FORECAST else (48, 48))
    training = hours < SPLIT
    assert training.any()
    assert not training.all()
    assert hours.max() < END
    # Every training row's origin lies at its view's cutoff or later, and so its bounds know nothing of its hours.
    assert origins[training].min() >= CUTOFFS[0] - 1
    check_feature_set(features)


@pytest.mark.parametrize("rule", [ABSOLUTE, QUANTILE, PER_SERVER])
def test_each_cutoff_is_seen_by_the_asked_rule_first(rule: str) -> None:
    found = views(Sketch.of(GRID, CUTOFFS), SPLIT, asked(rule), seed=1)
    assert Counter(view.begin for view in found) == dict.fromkeys(CUTOFFS, 1 + PLACEMENTS)
    own = [view for view in found if view.number % (1 + PLACEMENTS) == 0]
    assert {view.name for view in own} == {rule}
    assert {view.name for view in found} >= {QUANTILE, PER_SERVER}
    assert all(view.begin < view.end <= SPLIT and 0 < view.low < view.high < 1 for view in found)
    assert all(view.common.low <= view.common.high for view in found)


def test_cutoffs_leave_the_longest_horizon_before_the_split() -> None:
    assert CUTOFFS[0] == BEGIN + 14 * 24
    assert max(CUTOFFS) < SPLIT - schema.HORIZON_HOURS
    assert len(cutoffs(0, 24 * 365 * 8, 48)) <= 41
    assert cutoffs(0, 24 * 10, 48) == [24 * 4]
    assert cutoffs(0, 24 * 3, 48) == []


# --- the sketch -----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 1e12), min_size=1, max_size=200),
    st.floats(0, 1),
)
def test_a_quantile_is_within_the_width_of_a_bin(loads: list[float], share: float) -> None:
    hours = np.arange(len(loads))
    slots = -(-len(loads) // 24) * 24
    peaks, observed = np.zeros((8, slots)), np.zeros(slots, dtype=bool)
    peaks[0, : len(loads)], observed[: len(loads)] = loads, True
    grid = Grid(("10.0.0.1",), np.array([0]), np.array([int(hours[-1])]), peaks, observed)
    known = Sketch.of(grid, [slots]).before(slots)
    exact = np.sort(loads)[int(share * (len(loads) - 1))]
    assert known.total == len(loads)
    assert known.quantile(share) == pytest.approx(exact, rel=1 / 256, abs=1e-300)
    assert known.share(float(np.max(loads)) * 1.01) == 1.0


def test_a_sketch_is_the_same_however_servers_are_spread() -> None:
    parts = [between(GRID, BEGIN, END), grid_of(random_sessions(6, servers=3, days=20, number=500))]
    texts = [Sketch.of(part, CUTOFFS).as_json() for part in parts if part]
    joined = [Sketch.joined(order, CUTOFFS) for order in (texts, texts[::-1])]
    assert joined[0].counts == joined[1].counts
    assert joined[0].before(CUTOFFS[-1]).total >= Sketch.of(GRID, CUTOFFS).before(CUTOFFS[-1]).total


# --- rows -----------------------------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_which_servers_are_worked_on_together() -> None:
    made = simulated(GRID)
    made = replace(made, views=made.views[::7])
    together = pa.concat_tables(made.tables(GRID))
    loads = loads_table(GRID)
    alone = []
    for server in GRID.servers:
        rows = loads.filter(pa.compute.equal(loads.column(schema.SERVER), server))
        alone.append(pa.concat_tables(made.tables(grid_of_loads(rows))))
    order = [(schema.SERVER, "ascending"), (schema.HOUR, "ascending"), (schema.FORECAST_ORIGIN, "ascending")]
    order += [(name, "ascending") for name in ("boundsWidth", "sameHour0", "levelMean672")]
    assert pa.concat_tables(alone).sort_by(order).equals(together.sort_by(order))


def test_the_test_period_has_a_row_for_each_server_origin_and_horizon() -> None:
    table = pa.concat_tables(simulated(GRID).tables(GRID))
    hours = hours_of(table.column(schema.HOUR))
    tested = table.filter(pa.array(hours >= SPLIT))
    rows = Counter(
        zip(tested.column(schema.SERVER).to_pylist(), tested.column(schema.FORECAST_ORIGIN).to_pylist(), strict=True)
    )
    first = datetime(1970, 1, 1) + timedelta(hours=SPLIT - 1)
    made = [first + timedelta(hours=hours) for hours in range(0, END - SPLIT - 47, 6)]
    assert {origin for _, origin in rows} <= set(made)
    assert max(rows.values()) == 48
    assert [rows[STEADY, origin] for origin in made] == [48] * len(made)


def test_near_hours_are_drawn_more_often_and_no_more_rows_than_are_wanted() -> None:
    made = simulated(GRID, share=1.0)
    slots, origins = made.draw.rows(GRID, made.views[0])
    ahead = slots - origins
    assert (ahead <= 6).mean() > (ahead > 24).mean() > 0
    assert GRID.observed[slots].all()
    assert density(made.views, 10) > density(made.views, 10**6) > 0


def test_loads_are_a_grid_again() -> None:
    again = grid_of_loads(loads_table(GRID))
    assert (again.servers, again.first.tolist(), again.last.tolist()) == (
        GRID.servers,
        GRID.first.tolist(),
        GRID.last.tolist(),
    )
    assert np.array_equal(again.peaks[0], GRID.peaks[0])
    assert np.array_equal(again.observed, GRID.observed)
