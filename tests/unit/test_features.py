"""Features of past and coming hours: by examples, and against the oracle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import classic
from grids import (
    BEGIN,
    EPOCH,
    HOLIDAYS,
    HOUR,
    LABELS,
    RULE,
    by_place,
    features_of,
    grid_of,
    oracle_frames,
    random_sessions,
    session,
)
from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.grid import daily_table, hourly_table
from loadcast.kernels.labels import Bounds, LabelRule
from oracle.rows import Session

A, B = "10.0.0.1", "10.0.0.2"
ROLLING = "peakLoadDailyLag2Win7"
# The oracle's daily and rolling means are exact sums, the kernel adds doubles.
SUM_TOLERANCE = 1e-12


def rows_of(table: pa.Table, server: str = A) -> dict[int, dict]:
    """Hours after BEGIN → row."""
    rows = (row for row in table.to_pylist() if row[schema.SERVER] == server)
    return {(row[schema.HOUR] - BEGIN) // HOUR: row for row in rows}


def steady(hours: int, server: str = A, first: int = 0) -> list[Session]:
    """A session in each hour; its load is the number of the hour, plus 1."""
    return [session(server, hour + 0.01, hour + 1.0) for hour in range(first, hours)]


# --- against the oracle ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_features_are_the_oracle_s(seed: int) -> None:
    sessions = random_sessions(seed, days=60, number=300)
    actual, wanted = by_place(features_of(sessions)).to_pandas(), oracle_frames(sessions)[2]
    exact = [name for name in wanted.columns if name not in classic.ROLLING_COLUMNS]
    pd.testing.assert_frame_equal(actual[exact], wanted[exact], check_exact=True)
    rolling = list(classic.ROLLING_COLUMNS)
    pd.testing.assert_frame_equal(actual[rolling], wanted[rolling], rtol=SUM_TOLERANCE, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_many_servers_at_once_are_as_one_after_the_other(seed: int) -> None:
    sessions = random_sessions(seed, servers=6, days=60)
    names = list(dict.fromkeys(row.server for row in sessions))
    alone = [features_of([session for session in sessions if session.server == name]) for name in names]
    assert features_of(sessions).equals(pa.concat_tables(alone).combine_chunks())


# --- labels, lags, rolling means ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "label"), [(0, 1), (100, 1), (100.00000000001, 2), (500, 2), (500.0000000001, 3), (1e15, 3)]
)
def test_low_is_up_to_its_threshold_and_high_above_its_own(load: float, label: int) -> None:
    assert LABELS.labels(np.array([load]), [A], np.zeros(1, dtype=np.int64)).tolist() == [label]
    loads, codes = np.array([0.0, 1.0, 2.0]), np.zeros(3, dtype=np.int64)
    assert LabelRule.absolute(0, 1).labels(loads, [A], codes).tolist() == [1, 2, 3]


def test_a_server_with_bounds_of_its_own_is_labelled_by_them() -> None:
    rule = LabelRule("perServer", Bounds(10, 20, "fleet"), {B: Bounds(1, 2, "server")})
    loads, codes = np.array([1.5, 15, 25, 1, 1.5, 2.5]), np.array([0, 0, 0, 1, 1, 1])
    assert rule.labels(loads, [A, B], codes).tolist() == [1, 2, 3, 1, 2, 3]
    assert [rule.bounds(server).source for server in (A, B, "::1")] == ["fleet", "server", "fleet"]


def test_a_lag_is_that_many_hours_earlier() -> None:
    rows = rows_of(features_of(steady(800)))
    assert len(rows) == 800
    for hour, row in rows.items():
        for name, lag_h in zip(classic.LAG_COLUMNS, classic.LAGS_H, strict=True):
            assert row[name] == (hour - lag_h + 1 if hour >= lag_h else 0)


def test_a_lag_counts_hours_and_not_rows_with_sessions() -> None:
    rows = rows_of(features_of([session(A, 3, 7), session(A, 40, 8), session(A, 51, 9), session(A, 99.5, 1)]))
    assert {hour for hour, row in rows.items() if row["peakLoadLag48"]} == {51, 88, 99}
    assert [rows[hour]["peakLoadLag48"] for hour in (51, 88, 99)] == [7, 8, 9]


def test_a_lag_does_not_reach_into_another_server() -> None:
    rows = rows_of(features_of([*steady(100, B), *steady(60, A), *steady(100, "10.0.0.3")]))
    assert [rows[hour]["peakLoadLag48"] for hour in (0, 47, 48, 59)] == [0, 0, 1, 12]


def test_the_rolling_mean_is_over_the_days_nine_to_three_before() -> None:
    days = [session(A, 24 * day + hour, 100.0 * 2**day) for day in range(14) for hour in range(24)]
    rows = rows_of(features_of(days))
    for day in range(14):
        window = [100.0 * 2**back for back in range(day - 9, day - 2) if back >= 0]
        for hour in (0, 23):
            assert rows[24 * day + hour][ROLLING] == (sum(window) / len(window) if window else 0)


def test_the_rolling_mean_is_over_the_days_the_server_has() -> None:
    rows = rows_of(features_of([session(A, 20, 40), session(A, 12 * 24, 1)]))
    assert [rows[24 * day][ROLLING] for day in (2, 3, 4, 9, 10, 12)] == pytest.approx([0, 10, 5, 10 / 7, 0, 0])


def test_each_measure_has_its_own_rolling_mean() -> None:
    row = rows_of(features_of([session(A, hour, 1.0, scale=10) for hour in range(24 * 4)]))[72]
    assert [row[name] for name in classic.ROLLING_COLUMNS] == [1, 10, 20, 30, 40, 50, 60, 70]


# --- faults of the public sample ------------------------------------------------------------------------------------


def test_the_trend_grows_from_hour_to_hour() -> None:
    rows = rows_of(features_of(steady(50)))
    trend = [rows[hour][classic.LINEAR_TREND] for hour in range(50)]
    assert trend == [hour / 8766 for hour in range(50)]


def test_the_day_of_the_month_is_not_the_hour() -> None:
    rows = rows_of(features_of(steady(24 * 32)))
    assert [rows[24 * day + 13]["dayofmonth"] for day in range(32)] == [*range(1, 31), 1, 2]
    assert [rows[24 * 9 + hour]["hourofday"] for hour in range(24)] == list(range(24))


def test_no_column_feeds_the_forest_twice() -> None:
    for parting in range(len(classic.CATEGORICAL_COLUMNS) + 1):
        only, encode = classic.CATEGORICAL_COLUMNS[:parting], classic.CATEGORICAL_COLUMNS[parting:]
        columns = classic.CLASSIC.vector(only, encode)
        assert len(columns) == len(set(columns)) == len(classic.CATEGORICAL_COLUMNS) + 1 + len(classic.HISTORY_COLUMNS)
        assert [name for name in columns if "Lag" in name] == [f"scaled{name}" for name in classic.HISTORY_COLUMNS]


def test_the_columns_are_the_contract_s() -> None:
    assert features_of(steady(3)).schema == classic.FEATURES_SCHEMA
    assert features_of(steady(3)).column(schema.KEY).to_pylist()[2] == f"{A}_2016-06-01 02:00:00"
    assert classic.features_table(grid_of([]), RULE, LABELS).num_rows == 0


# --- coming hours ---------------------------------------------------------------------------------------------------


def statistics_of(sessions: list[Session], server: str) -> tuple[pa.Table, pa.Table]:
    grid = grid_of([session for session in sessions if session.server == server])
    return hourly_table(grid), daily_table(grid)


def assert_as_in_training(
    sessions: list[Session], server: str, begin: int, published: tuple[pa.Table, pa.Table]
) -> int:
    """The coming hours from `begin` are the rows that ETL has of them, to the last bit; gives how many it has."""
    coming = classic.future_features(*published, BEGIN + begin * HOUR, 48, RULE)
    rows = by_place(features_of([session for session in sessions if session.server == server])).select(
        classic.SCORING_SCHEMA.names
    )
    hours = (rows.column(schema.HOUR).to_numpy() - np.datetime64(BEGIN)) // np.timedelta64(1, "h")
    trained = rows.filter(pa.array((hours >= begin) & (hours < begin + 48)))
    indices = pa.array(np.flatnonzero(np.isin(np.arange(begin, begin + 48), hours)))
    assert coming.take(indices).equals(trained)
    return trained.num_rows


def cut_at_begin(sessions: list[Session], server: str, begin: int) -> tuple[pa.Table, pa.Table]:
    """Statistics made before `begin`: of no session from then on."""
    return statistics_of([session for session in sessions if session.start < BEGIN + begin * HOUR], server)


def all_of_it(sessions: list[Session], server: str, begin: int) -> tuple[pa.Table, pa.Table]:
    """Statistics made long after `begin`."""
    return statistics_of(sessions, server)


def last_731_hours(sessions: list[Session], server: str, begin: int) -> tuple[pa.Table, pa.Table]:
    """The last 731 hours before `begin`, which may start in the middle of a day; and every day."""
    hourly, daily = cut_at_begin(sessions, server, begin)
    since = np.datetime64(BEGIN + (begin - 731) * HOUR, "us")
    return hourly.filter(pa.array(hourly.column(schema.HOUR).to_numpy() >= since)), daily


def whole_days(sessions: list[Session], server: str, begin: int) -> tuple[pa.Table, pa.Table]:
    """What the client reads: the 31 days before `begin`, from midnight on."""
    since = np.datetime64(BEGIN + (begin // 24 - 31) * 24 * HOUR, "us")
    hourly, daily = cut_at_begin(sessions, server, begin)
    return (
        hourly.filter(pa.array(hourly.column(schema.HOUR).to_numpy() >= since)),
        daily.filter(pa.array(daily.column(schema.DAY).to_numpy() >= since)),
    )


PUBLISHED = (cut_at_begin, all_of_it, last_731_hours, whole_days)
Publish = Callable[[list[Session], str, int], tuple[pa.Table, pa.Table]]


@pytest.mark.parametrize("publish", PUBLISHED)
@pytest.mark.parametrize("seed", range(3))
def test_the_client_s_features_are_those_of_training(seed: int, publish: Publish) -> None:
    sessions = random_sessions(seed, servers=3, days=60, number=1500)
    compared = 0
    for server in dict.fromkeys(row.server for row in sessions):
        hours = [(session.start - BEGIN) // HOUR for session in sessions if session.server == server]
        first, last = min(hours), max(hours)
        for begin in {first + 1, (first // 24 + 1) * 24, (first + last) // 2, last // 24 * 24 - 24, last - 20, last}:
            if first < begin and publish(sessions, server, begin)[0].num_rows:
                compared += assert_as_in_training(sessions, server, begin, publish(sessions, server, begin))
    assert compared > 100


@pytest.mark.parametrize("publish", PUBLISHED)
@pytest.mark.parametrize("silent_h", [1, 31, 96, 240])
@pytest.mark.parametrize("first_h", [0, 10, 23])
def test_a_server_silent_since_its_first_hours_is_as_in_training(silent_h: int, first_h: int, publish: Publish) -> None:
    """Its first day is over, so its hours after the last session count: in the published mean they do not."""
    sessions = [session(A, first_h, 50), session(A, first_h + 0.5, 70), session(A, first_h + silent_h + 30, 9)]
    for begin in range(first_h + 1, first_h + silent_h + 30, 17):
        assert_as_in_training(sessions, A, begin, publish(sessions, A, begin))


def test_a_first_day_that_was_cut_has_its_published_mean() -> None:
    hourly, daily = cut_at_begin(steady(24 * 9), A, 24 * 9)
    whole = classic.future_features(hourly, daily, BEGIN + 24 * 9 * HOUR, 48, RULE)
    for cut in range(24 * 4):
        coming = classic.future_features(hourly.slice(cut), daily, BEGIN + 24 * 9 * HOUR, 48, RULE)
        assert coming.select(classic.ROLLING_COLUMNS).equals(whole.select(classic.ROLLING_COLUMNS))


def test_without_the_published_mean_a_first_day_is_what_its_hours_say() -> None:
    sessions = steady(24 * 12, first=7)
    hourly, daily = cut_at_begin(sessions, A, 24 * 9)
    assert_as_in_training(sessions, A, 24 * 9, (hourly, daily.slice(0, 0)))
    assert_as_in_training(sessions, A, 24 * 9, (hourly, daily.slice(1)))


def test_what_was_published_of_coming_hours_is_not_looked_at() -> None:
    begin = 24 * 15 + 7
    before = steady(begin)
    sessions = [*before, *(session(A, hour, 999) for hour in range(begin, begin + 100, 3))]
    known = classic.future_features(*statistics_of(before, A), BEGIN + begin * HOUR, 48, RULE)
    assert classic.future_features(*statistics_of(sessions, A), BEGIN + begin * HOUR, 48, RULE).equals(known)


def test_fewer_hours_are_the_first_of_48() -> None:
    published = statistics_of(steady(100), A)
    whole = classic.future_features(*published, BEGIN + 100 * HOUR, 48, RULE)
    assert whole.schema == classic.SCORING_SCHEMA
    for hours in (1, 24, 47):
        assert classic.future_features(*published, BEGIN + 100 * HOUR, hours, RULE).equals(whole.slice(0, hours))


def test_the_coming_hours_have_their_own_calendar() -> None:
    begin = datetime(2016, 7, 3, 20)
    rule = CalendarRule(datetime(2016, 1, 1), HOLIDAYS)
    rows = classic.future_features(*statistics_of(steady(24 * 30), A), begin, 48, rule).to_pylist()
    assert [row[schema.HOUR] for row in rows] == [begin + hour * HOUR for hour in range(48)]
    assert [row["Holiday"] for row in rows] == [0] * 4 + [1] * 24 + [0] * 20
    assert rows[0][classic.LINEAR_TREND] == (begin - datetime(2016, 1, 1)) / timedelta(days=365.25)
    assert rows[0][schema.KEY] == f"{A}_2016-07-03 20:00:00"


@pytest.mark.parametrize("hours", [0, -1, 49, 10**9])
def test_only_1_to_48_hours_can_be_asked_for(hours: int) -> None:
    with pytest.raises(InputError, match=rf"^Asked for {hours} hours ahead; wanted 1 to 48"):
        classic.future_features(*statistics_of(steady(5), A), BEGIN + 5 * HOUR, hours, RULE)


@pytest.mark.parametrize("begin", [BEGIN + timedelta(minutes=30), BEGIN + timedelta(microseconds=1)])
def test_the_start_is_a_whole_hour(begin: datetime) -> None:
    with pytest.raises(InputError, match="wanted a whole hour, such as 2016-07-01 00:00:00"):
        classic.future_features(*statistics_of(steady(5), A), begin, 48, RULE)


@pytest.mark.parametrize("servers", [[], [A, B]])
def test_the_statistics_are_of_exactly_one_server(servers: list[str]) -> None:
    grid = grid_of([session for server in servers for session in steady(5, server)])
    with pytest.raises(InputError, match=f"Found statistics of {len(servers)} servers before .* wanted .* exactly one"):
        classic.future_features(hourly_table(grid), daily_table(grid), BEGIN + 5 * HOUR, 48, RULE)


def test_statistics_that_begin_later_are_an_error_and_not_a_crash() -> None:
    with pytest.raises(InputError, match="Found statistics of 0 servers before 2016-06-01 05:00:00"):
        classic.future_features(*statistics_of(steady(9, first=5), A), BEGIN + 5 * HOUR, 48, RULE)


@pytest.mark.parametrize("begin", [EPOCH - 48 * HOUR, datetime(9999, 12, 30)])
def test_the_ends_of_time_have_features(begin: datetime) -> None:
    grid = grid_of([Session(A, begin - HOUR, (1.0,) * 8)])
    table = classic.future_features(hourly_table(grid), daily_table(grid), begin, 48, RULE)
    assert table.column("peakLoadLag48").to_pylist() == [*[0] * 47, 1]
