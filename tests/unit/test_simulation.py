"""Simulated cutoffs: nothing of a view changes with what comes after it; draws do not depend on how data is cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from grids import RULE, grid_of, random_sessions, session
from loadcast import schema
from loadcast.kernels.features import DIRECT, EXTENDED, FeatureSet
from loadcast.kernels.features.check import check_feature_set
from loadcast.kernels.features.feature_set import Origin
from loadcast.kernels.grid import Grid, grid_of_loads, hours_of, loads_table
from loadcast.kernels.labels import ABSOLUTE, PER_SERVER, QUANTILE, Bounds, LabelRule
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.simulation.backwards import Turned, backwards, span_of
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
TRAINING = Turned(BEGIN, SPLIT, frozenset())
#: A fleet of which the one server that is always there is all. The other one has moved: its servers come and go.
ALONE = grid_of([session(STEADY, hour, 50.0 + hour % 24 * 20) for hour in range(-24, (DAYS + 1) * 24)])
#: Those of the cutoffs that are seen backwards, too: two whole weeks before and after them.
TURNED = [cutoff for cutoff in CUTOFFS if BEGIN + 336 <= cutoff <= SPLIT - 336]


def asked(rule: str) -> View:
    return View(0, 0, 0, rule, 0.5, 0.85, Bounds(100.0, 300.0))


def sketch_of(grid: Grid) -> Sketch:
    return Sketch.of(grid, [*CUTOFFS, SPLIT])


def simulated(grid: Grid, rule: str = PER_SERVER, features: FeatureSet = DIRECT, share: float = 0.1) -> Simulation:
    found = tuple(views(sketch_of(grid), BEGIN, asked(rule), seed=1))
    draw = Draw(share, features.origin, seed=1)
    return Simulation(features, RULE, found, draw, LabelRule.absolute(100, 300), BEGIN, SPLIT, END, 6)


def changed(grid: Grid, where: NDArray[np.bool_], seed: int = 2) -> Grid:
    """The grid with other loads at some of its slots, some of them gone."""
    drawn, where = np.random.default_rng(seed), grid.in_grid & where
    observed = np.where(where, drawn.random(len(where)) < 0.8, grid.observed)
    loads = np.where(where, drawn.gamma(2.0, 400.0, grid.peaks.shape), grid.peaks)
    return replace(grid, peaks=np.where(observed, loads, 0.0), observed=observed)


# --- views ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [ABSOLUTE, QUANTILE, PER_SERVER])
@pytest.mark.parametrize("cutoff", CUTOFFS[1::2])
def test_no_session_after_a_cutoff_changes_its_bounds_or_features(rule: str, cutoff: int) -> None:
    other = changed(GRID, GRID.hours >= cutoff)
    one, two = simulated(GRID, rule, share=1.0), simulated(other, rule, share=1.0)
    seen, again = (
        [view for view in made.views if view.begin == cutoff and not view.is_backwards] for made in (one, two)
    )
    assert len(seen) == 1 + PLACEMENTS
    assert seen == again
    for view in seen:
        assert view.rule(GRID) == view.rule(other)
    # Of the hours right after the cutoff, from the origin before it, only the truth may differ.
    first = np.flatnonzero(GRID.in_grid & (GRID.hours >= cutoff) & (GRID.hours < cutoff + 48))
    chosen = first, first - (GRID.hours[first] - cutoff + 1)
    tables = [made._table(grid, chosen, seen[1].rule(grid), seen[1]) for made, grid in ((one, GRID), (two, other))]
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
@pytest.mark.parametrize("grid", [ALONE, GRID], ids=["steady", "moved"])
def test_each_cutoff_is_seen_by_the_asked_rule_first(grid: Grid, rule: str) -> None:
    found = views(sketch_of(grid), BEGIN, asked(rule), seed=1)
    seen = Counter((view.is_backwards, view.begin) for view in found)
    backwards_at = [] if grid is ALONE else TURNED
    wanted = [*((False, cutoff) for cutoff in CUTOFFS), *((True, cutoff) for cutoff in backwards_at)]
    assert seen == dict.fromkeys(wanted, 1 + PLACEMENTS)
    assert len(TURNED) > 2
    assert [view.number for view in found] == [*range(len(found))]
    firsts = {(view.is_backwards, view.begin): view for view in reversed(found)}
    assert {view.name for view in firsts.values()} == {rule}
    assert {view.name for view in found} >= {QUANTILE, PER_SERVER}
    assert all(view.begin < view.end <= SPLIT and 0 <= view.low < view.high <= 1 for view in found)
    assert all(
        0 < view.low < view.high < 1 for view in found if view.number not in {one.number for one in firsts.values()}
    )
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
    both_sides = {joined[0].before(cutoff).total + joined[0].since(cutoff).total for cutoff in CUTOFFS}
    assert both_sides == {joined[0].before(CUTOFFS[-1]).total}
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


# --- weeks backwards ------------------------------------------------------------------------------------------------


def known_loads(grid: Grid) -> dict[tuple[str, int], float]:
    """Observed loads by server and hour."""
    slots = np.flatnonzero(grid.observed)
    names = [grid.servers[server] for server in grid.day_server[slots // 24].tolist()]
    return dict(zip(zip(names, grid.hours[slots].tolist(), strict=True), grid.peaks[0][slots].tolist(), strict=True))


@pytest.mark.parametrize("cutoff", [TURNED[0], TURNED[-1], BEGIN + 21 * 24 + 5])
def test_weeks_change_places_around_the_cutoff_and_hours_keep_their_time_of_the_week(cutoff: int) -> None:
    turned = backwards(GRID, cutoff, TRAINING)
    assert turned is not None
    wanted = {}
    for (server, hour), load in known_loads(GRID).items():
        if BEGIN <= hour < SPLIT:
            week = (hour - cutoff) // 168
            wanted[server, hour + 168 * (-1 - 2 * week)] = load
    assert known_loads(turned) == wanted
    # Turned once more, with room for all of it, it is as it was.
    again = backwards(turned, cutoff, Turned(BEGIN - 10**4, SPLIT + 10**4, frozenset()))
    assert again is not None
    assert known_loads(again) == {key: load for key, load in known_loads(GRID).items() if BEGIN <= key[1] < SPLIT}


def test_holidays_are_not_turned_and_their_dates_are_ordinary_days_there() -> None:
    days = {(hour // 24) for _, hour in known_loads(GRID) if BEGIN <= hour < SPLIT}
    holiday = sorted(days)[len(days) // 2]
    turned = Turned(BEGIN, SPLIT, frozenset({date(1970, 1, 1) + timedelta(days=holiday)}))
    cutoff = holiday * 24
    grid = backwards(GRID, cutoff, turned)
    assert grid is not None
    assert holiday - 7 not in {hour // 24 for _, hour in known_loads(grid)}
    assert known_loads(grid).items() <= known_loads(backwards(GRID, cutoff, TRAINING) or grid).items()
    made = replace(simulated(GRID, share=1.0), calendar=replace(RULE, holidays=turned.holidays))
    rows = pa.concat_tables(
        replace(made, views=tuple(view for view in made.views if view.is_backwards)).training_tables(GRID)
    )
    assert len(rows)
    assert set(rows.column("Holiday").to_pylist()) == {0}


def test_there_is_nothing_to_turn_where_no_hour_was_observed() -> None:
    assert backwards(GRID, BEGIN + 336, Turned(END + 1000, END + 2000, frozenset())) is None
    silent = replace(GRID, observed=np.zeros_like(GRID.observed))
    assert backwards(silent, BEGIN + 336, TRAINING) is None


@pytest.mark.parametrize("rule", [ABSOLUTE, QUANTILE, PER_SERVER])
@pytest.mark.parametrize("cutoff", TURNED[::2])
def test_backwards_nothing_on_the_far_side_of_a_cutoff_changes_its_bounds_or_features(rule: str, cutoff: int) -> None:
    # What comes after it there are the weeks before it.
    other = changed(GRID, GRID.hours < cutoff)
    one, two = simulated(GRID, rule, share=1.0), simulated(other, rule, share=1.0)
    seen, again = ([view for view in made.views if view.begin == cutoff and view.is_backwards] for made in (one, two))
    assert len(seen) == 1 + PLACEMENTS
    # Whether a fleet has moved, and so is turned at all, is a matter of both sides.
    assert not again or [replace(view, number=0) for view in seen] == [replace(view, number=0) for view in again]
    grids = [backwards(grid, cutoff, Turned(BEGIN, SPLIT, RULE.holidays)) for grid in (GRID, other)]
    tables = []
    for made, grid in zip((one, two), grids, strict=True):
        assert grid is not None
        only = grid_of_loads(loads_table(grid).filter(pa.compute.equal(loads_table(grid)[schema.SERVER], STEADY)))
        first = np.flatnonzero(only.in_grid & (only.hours >= cutoff) & (only.hours < cutoff + 48))
        chosen = first, first - (only.hours[first] - cutoff + 1)
        tables.append(made._table(only, chosen, seen[1].rule(only), seen[1]))
        assert len(tables[-1]) == 48
    known = [*DIRECT.names, *NAIVE_COLUMNS, schema.FORECAST_ORIGIN]
    assert tables[0].select(known).equals(tables[1].select(known))


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 1000))
def test_backwards_rows_are_of_hours_that_training_has(before: int, after: int, longest: int) -> None:
    cutoff = 10**5
    span = span_of(cutoff, cutoff - before, cutoff + after, longest)
    assert 0 <= span <= min(longest, after)
    assert bool(span) == (before >= 336 and after >= 336)
    # The hour that stands at each lies in the training period, too.
    true_hours = (hour - 168 * (2 * ((hour - cutoff) // 168) + 1) for hour in range(cutoff, cutoff + span))
    assert all(cutoff - before <= hour for hour in true_hours)


@pytest.mark.parametrize("grid", [ALONE, GRID], ids=["steady", "moved"])
def test_no_row_of_the_training_period_lies_in_the_test_period_nor_is_made_of_it(grid: Grid) -> None:
    later = changed(grid, grid.hours >= SPLIT)
    tables = [pa.concat_tables(simulated(one).training_tables(one)) for one in (grid, later)]
    assert hours_of(tables[0].column(schema.HOUR)).max() < SPLIT
    assert tables[0].equals(tables[1])


def test_a_fleet_has_moved_where_most_hours_after_the_middle_are_of_another_class() -> None:
    def is_turned(growth: float) -> bool:
        loads = ALONE.peaks * growth ** ((ALONE.hours - BEGIN) / 168)
        return any(
            view.is_backwards for view in views(sketch_of(replace(ALONE, peaks=loads)), BEGIN, asked(QUANTILE), 1)
        )

    assert [is_turned(growth) for growth in (0.3, 0.5, 1.0, 2.0, 5.0)] == [True, True, False, True, True]
    assert views(Sketch.of(GRID, []), BEGIN, asked(QUANTILE), 1) == []


def test_a_fleet_that_only_grew_is_also_learned_from_as_one_that_falls() -> None:
    hours = range(DAYS * 24)
    grid = grid_of([session(STEADY, hour, 100.0 * 1.1 ** (hour / 24)) for hour in hours])
    rows = pa.concat_tables(simulated(grid, QUANTILE, share=1.0).training_tables(grid))
    change = rows.column("sameHour0").to_numpy() - rows.column("sameHour6").to_numpy()
    known = (rows.column("sameHour6").to_numpy() != schema.MISSING) & (np.abs(change) > 0.01)
    assert 0.2 < (change[known] < 0).mean() < 0.8
