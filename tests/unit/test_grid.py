"""Hourly peaks and daily means: by examples, and against the oracle."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from grids import BEGIN, by_place, grid_of, hour_number, oracle_frames, random_sessions, session, sum_rows
from loadcast import schema
from loadcast.kernels.buckets import Buckets
from loadcast.kernels.grid import Grid, build_grid, daily_table, grid_from_hourly, hourly_table, keys_of, portions
from oracle.rows import Session

A, B = "10.0.0.1", "10.0.0.2"
# The oracle's daily means are exact sums, the kernel adds 24 doubles.
SUM_TOLERANCE = 1e-12


def loads(table: pa.Table) -> dict[tuple[str, int], float]:
    """(server, hours after BEGIN) → peakLoad."""
    columns = (table.column(name).to_pylist() for name in (schema.SERVER, schema.HOUR, schema.PEAK_LOAD))
    return {(server, (hour - BEGIN) // timedelta(hours=1)): load for server, hour, load in zip(*columns, strict=True)}


def hourly_of(*sessions: Session) -> pa.Table:
    return hourly_table(grid_of(sessions))


def daily_of(*sessions: Session) -> list[tuple[str, datetime, float]]:
    table = daily_table(grid_of(sessions))
    columns = (table.column(name).to_pylist() for name in (schema.SERVER, schema.DAY, "peakLoadDaily"))
    return list(zip(*columns, strict=True))


# --- against the oracle ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_hourly_statistics_are_the_oracle_s_to_the_last_bit(seed: int) -> None:
    sessions = random_sessions(seed)
    actual = by_place(hourly_table(grid_of(sessions))).to_pandas()
    pd.testing.assert_frame_equal(actual, oracle_frames(sessions)[0], check_exact=True)


@pytest.mark.parametrize("seed", range(6))
def test_daily_statistics_are_the_oracle_s(seed: int) -> None:
    sessions = random_sessions(seed)
    actual = by_place(daily_table(grid_of(sessions)), schema.DAY).to_pandas()
    pd.testing.assert_frame_equal(actual, oracle_frames(sessions)[1], rtol=SUM_TOLERANCE, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_many_servers_at_once_are_as_one_after_the_other(seed: int) -> None:
    sessions = random_sessions(seed, servers=6)
    names = list(dict.fromkeys(session.server for session in sessions))
    alone = [grid_of([session for session in sessions if session.server == name]) for name in names]
    together = grid_of(sessions)
    for make in (hourly_table, daily_table):
        assert make(together).equals(pa.concat_tables([make(grid) for grid in alone]).combine_chunks())


# --- peaks ----------------------------------------------------------------------------------------------------------


def test_the_peak_is_the_largest_bucket_with_its_own_other_sums() -> None:
    (row,) = hourly_of(session(A, 0.1, 4, scale=9), session(A, 0.5, 3), session(A, 0.51, 2, scale=5)).to_pylist()
    assert (row["peakLoad"], row["peakBytes"], row["peakLoadSecure"]) == (5, 13, 91)


def test_of_equal_peaks_the_earliest_bucket_counts_even_where_float_sums_differ() -> None:
    late = [session(A, 0.6, load, scale=50) for load in (0.1, 0.2, 0.3)]
    (row,) = hourly_of(*late, session(A, 0.05, 0.6, scale=10), session(A, 0.9, 0.6)).to_pylist()
    assert (row["peakLoad"], row["peakBytes"]) == (0.6, 6)


@pytest.mark.parametrize("load", [0.0, None])
def test_an_hour_of_sessions_without_load_is_observed(load: float | None) -> None:
    (row,) = hourly_of(session(A, 0.6, load), session(A, 0.2, load)).to_pylist()
    assert (row["peakLoad"], row["observed"]) == (0, True)


@pytest.mark.parametrize("load", [1e-300, 1e-310, 5e-324, 1e15])
def test_loads_of_any_size_have_a_peak(load: float) -> None:
    rows = hourly_of(session(A, 0.1, load, scale=0), session(A, 0.5, load, scale=0), session(A, 2, load, scale=0))
    assert rows.column(schema.PEAK_LOAD).to_pylist() == pytest.approx([load, 0, load], rel=1e-13)


# --- the grid of hours ----------------------------------------------------------------------------------------------


def test_the_grid_is_complete_from_the_first_to_the_last_observed_hour() -> None:
    rows = hourly_of(session(A, 22.2, 1), session(A, 25.99, 2), session(B, 23, 0))
    assert loads(rows) == {(A, 22): 1, (A, 23): 0, (A, 24): 0, (A, 25): 2, (B, 23): 0}
    assert rows.column(schema.OBSERVED).to_pylist() == [True, False, False, True, True]


def test_a_key_is_the_server_and_its_hour() -> None:
    row = hourly_of(Session("::1", datetime(2016, 2, 29, 23, 59, 59), (1.0,) * 8)).to_pylist()[0]
    assert (row["key"], row["SessionStartHourTime"]) == ("::1_2016-02-29 23:00:00", datetime(2016, 2, 29, 23))


@pytest.mark.parametrize("start", [datetime(1, 1, 1), datetime(1969, 12, 31, 23), datetime(9999, 12, 31, 23, 59, 59)])
def test_hours_before_1970_and_at_the_end_of_time_are_hours_too(start: datetime) -> None:
    row = hourly_of(Session(A, start, (2.5,) * 8)).to_pylist()[0]
    hour = start.replace(minute=0, second=0)
    assert (row["key"], row["SessionStartHourTime"], row["peakLoad"]) == (f"{A}_{hour}", hour, 2.5)
    assert daily_of(Session(A, start, (2.5,) * 8)) == [(A, hour.replace(hour=0), 2.5)]


def test_the_tables_have_the_contract_s_columns_and_types() -> None:
    grid = grid_of([session(A, 1)])
    assert hourly_table(grid).schema == schema.HOURLY_SCHEMA
    assert daily_table(grid).schema == schema.DAILY_SCHEMA


def test_no_sums_make_an_empty_grid() -> None:
    empty = np.zeros(0, dtype=np.int64)
    for servers in ((), (A,)):
        grid = build_grid(sum_rows(servers, empty, empty, np.zeros((0, len(schema.MEASURES)))))
        assert (grid.servers, hourly_table(grid).num_rows, daily_table(grid).num_rows) == ((), 0, 0)


def test_a_server_without_sums_is_left_out() -> None:
    sums = sum_rows((A, B), np.array([1]), np.array([7]), np.ones((1, len(schema.MEASURES))))
    assert build_grid(sums).servers == (B,)


# --- daily means ----------------------------------------------------------------------------------------------------


def test_a_daily_mean_is_over_the_grid_s_hours_of_the_day() -> None:
    actual = daily_of(session(A, 20, 8), session(A, 23, 4), session(A, 72.5, 6), session(B, 30, 5))
    days = [BEGIN + timedelta(days=day) for day in range(4)]
    assert actual == [(A, days[0], 3), (A, days[1], 0), (A, days[2], 0), (A, days[3], 6), (B, days[1], 5)]


def test_a_daily_mean_does_not_depend_on_what_else_the_server_did() -> None:
    day = [session(A, 48 + hour, 0.1 * hour) for hour in range(24)]
    alone, within = daily_of(*day), daily_of(session(A, 3, 7), *day, session(A, 90, 7))
    assert alone[0] == within[2]


# --- published statistics -------------------------------------------------------------------------------------------


def assert_same_grid(actual: Grid, wanted: Grid) -> None:
    for make, time in ((hourly_table, schema.HOUR), (daily_table, schema.DAY)):
        assert by_place(make(actual), time).equals(by_place(make(wanted), time))


@pytest.mark.parametrize("seed", range(3))
def test_the_grid_comes_back_from_hourly_statistics_in_any_order(seed: int) -> None:
    grid = grid_of(random_sessions(seed))
    table = hourly_table(grid)
    shuffled = table.take(pa.array(np.random.default_rng(seed).permutation(table.num_rows)))
    for given in (table, shuffled, pa.concat_tables([shuffled.slice(100), shuffled.slice(0, 100)])):
        assert_same_grid(grid_from_hourly(given), grid)


def test_statistics_without_the_hours_of_silence_give_the_same_grid() -> None:
    table = hourly_of(session(A, 5, 1), session(A, 60, 2), session(B, 7, 3))
    assert_same_grid(grid_from_hourly(table.filter(table.column(schema.OBSERVED))), grid_from_hourly(table))


def test_statistics_can_have_other_columns_and_finer_or_coarser_times() -> None:
    table = hourly_of(session(A, 5, 1), session(A, 60, 2))
    bare = table.select([schema.OBSERVED, *schema.PEAKS, schema.HOUR, schema.SERVER])
    for unit in ("s", "ms", "us", "ns"):
        index = bare.column_names.index(schema.HOUR)
        other = bare.set_column(index, schema.HOUR, bare.column(schema.HOUR).cast(pa.timestamp(unit)))
        assert_same_grid(grid_from_hourly(other), grid_from_hourly(table))


def test_until_an_hour_the_grid_goes_on_without_sessions_or_is_cut() -> None:
    table = hourly_of(session(A, 5, 1), session(A, 8, 2), session(B, 2, 3), session(B, 7, 4), session("::1", 9, 5))
    grid = grid_from_hourly(table, until=hour_number(BEGIN) + 8)
    actual = {key: load for key, load in loads(hourly_table(grid)).items() if load}
    assert actual == {(A, 5): 1, (B, 2): 3, (B, 7): 4}
    assert grid.servers == (A, B)
    assert (grid.last - hour_number(BEGIN)).tolist() == [7, 7]
    later = grid_from_hourly(table, until=hour_number(BEGIN) + 40)
    assert (later.last - hour_number(BEGIN)).tolist() == [39] * 3
    assert later.observed.sum() == 5
    assert {key: load for key, load in loads(hourly_table(later)).items() if load} == {
        (A, 5): 1,
        (A, 8): 2,
        (B, 2): 3,
        (B, 7): 4,
        ("::1", 9): 5,
    }


def test_until_before_the_first_hour_leaves_an_empty_grid() -> None:
    table = hourly_of(session(A, 5, 1))
    assert grid_from_hourly(table, until=hour_number(BEGIN) + 5).servers == ()
    assert grid_from_hourly(table.slice(0, 0)).servers == ()
    assert grid_from_hourly(schema.HOURLY_SCHEMA.empty_table(), until=0).servers == ()


def test_portions_hold_whole_servers_and_bound_the_slots() -> None:
    far = 12 * 24 * 1000  # two sessions a thousand days apart
    codes = np.repeat(np.arange(5), 2)
    positions = np.tile(np.array([0, far]), 5)
    names = tuple(f"10.0.0.{number}" for number in range(5))
    sums = Buckets(names, codes, positions, np.ones(10, dtype=np.int64), np.ones((10, 8)))
    grids = [build_grid(portion) for portion in portions(sums, 2 * 1001 * 24)]
    assert [grid.servers for grid in grids] == [names[:2], names[2:4], names[4:]]
    assert hourly_table(build_grid(sums)).equals(
        pa.concat_tables(hourly_table(grid) for grid in grids).combine_chunks()
    )


def test_sums_are_rounded_before_the_peak_is_chosen() -> None:
    """0.1 + 0.2 is a little more than 0.3 in doubles, and would win over the earlier bucket."""
    loads = ((0.01, 0.3, 10.0), (0.11, 0.1, 20.0), (0.12, 0.2, 20.0))
    grid = grid_of([session("10.0.0.1", hours, load, scale) for hours, load, scale in loads])
    assert grid.peaks[:2, 0].tolist() == [0.3, 3.0]


@pytest.mark.parametrize("hours", [[5, 4, 5, 6], [0, 10**6], [-3], []])
def test_keys_name_server_and_hour_however_far_apart_the_hours_lie(hours: list[int]) -> None:
    servers = pa.array(["::1"] * len(hours), pa.string())
    times = [datetime(1970, 1, 1) + timedelta(hours=hour) for hour in hours]
    assert keys_of(servers, np.array(hours, dtype=np.int64)).to_pylist() == [f"::1_{time}" for time in times]
