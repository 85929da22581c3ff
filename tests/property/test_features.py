"""What a feature may know: nothing of the last 48 hours; and training and scoring know the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import classic
import log_bytes
from grids import BEGIN, EPOCH, HOUR, RULE, by_place, features_of, grid_of, oracle_frames, session
from loadcast import schema
from loadcast.kernels.grid import daily_table, hourly_table
from oracle.rows import Session

SERVERS = ("10.0.0.1", "10.0.0.2", "::1")
FIRST_HOUR = (BEGIN - EPOCH) // HOUR
DAYS = 40
#: All that a feature row knows: only the load of the hour itself, and what is made of it, is not known before.
KNOWN_BEFORE = classic.SCORING_SCHEMA.names


def sessions_from(first_hour: int, servers: tuple[str, ...] = SERVERS) -> st.SearchStrategy[list[Session]]:
    """A few sessions from an hour (after BEGIN) on, near each other or weeks apart."""
    near = st.integers(first_hour, first_hour + 80)
    hours = near | near | st.integers(first_hour, max(first_hour, 24 * DAYS))
    minutes = st.sampled_from((0, 1, 299, 300, 3599)).map(lambda second: second / 3600)
    loads = st.none() | st.integers(0, 900).map(float) | st.integers(0, 10**6).map(lambda value: value / 1000)
    drawn = st.builds(
        lambda server, hour, minute, load: session(server, hour + minute, load),
        st.sampled_from(servers),
        hours,
        minutes,
        loads,
    )
    return st.lists(drawn, max_size=12)


def features_until(sessions: list[Session], hour: int) -> dict[tuple[str, int], dict]:
    """(server, hour since BEGIN) → what its features know, for hours up to `hour`."""
    table = features_of(sessions)
    keys = zip(table.column(schema.SERVER).to_pylist(), hours_after_begin(table).tolist(), strict=True)
    rows = zip(keys, table.select(KNOWN_BEFORE).to_pylist(), strict=True)
    return {key: row for key, row in rows if key[1] <= hour}


def hours_after_begin(table: pa.Table) -> np.ndarray:
    return table.column(schema.HOUR).to_numpy().astype("datetime64[h]").astype(np.int64) - FIRST_HOUR


@given(data=st.data(), cut=st.integers(0, 24 * DAYS))
@settings(max_examples=log_bytes.examples(1))
def test_no_feature_changes_with_sessions_younger_than_48_hours(data: st.DataObject, cut: int) -> None:
    """Sessions after the hour `cut` are changed, taken away and added: rows up to 48 hours later must not show it."""
    early = [session for session in data.draw(sessions_from(0)) if session.start < BEGIN + (cut + 1) * HOUR]
    late, other = (data.draw(sessions_from(cut + 1)) for _ in range(2))
    first, second = (features_until([*early, *more], cut + schema.HORIZON_HOURS) for more in (late, other))
    for key in first.keys() & second.keys():
        assert first[key] == second[key], key


@given(sessions=sessions_from(0), hour=st.integers(0, 24 * DAYS), silence=st.integers(0, 300))
@settings(max_examples=log_bytes.examples(0.5))
def test_a_session_shows_in_the_lags_of_exactly_its_hour(sessions: list[Session], hour: int, silence: int) -> None:
    """The other side of it: 48 hours later the load is known."""
    end = hour + 48 + silence
    known = [session for session in sessions if session.server != SERVERS[0] or session.start < BEGIN + hour * HOUR]
    rows = features_until([*known, session(SERVERS[0], hour, 10**6), session(SERVERS[0], end, 1)], end)
    lags = zip(classic.LAG_COLUMNS, classic.LAGS_H, strict=True)
    wanted = {(name, hour + lag_h) for name, lag_h in lags if hour + lag_h <= end}
    seen = {
        (name, key[1])
        for key, row in rows.items()
        for name in classic.LAG_COLUMNS
        if key[0] == SERVERS[0] and row[name] == 10**6
    }
    assert seen == wanted


@given(sessions=sessions_from(0, SERVERS[:1]), begin=st.integers(1, 24 * DAYS + 50), late=st.booleans())
@settings(max_examples=log_bytes.examples(1))
def test_the_client_s_features_are_those_of_training(sessions: list[Session], begin: int, late: bool) -> None:
    """Whenever the statistics were made: just before `begin`, or later."""
    start = BEGIN + begin * HOUR
    before = [session for session in sessions if session.start < start]
    if not before:
        return
    grid = grid_of(sessions if late else before)
    coming = classic.future_features(hourly_table(grid), daily_table(grid), start, 48, RULE)
    # One more session, so that training has rows of all those hours.
    trained = by_place(features_of([*sessions, session(SERVERS[0], begin + 47, 5)])).select(KNOWN_BEFORE)
    hours = hours_after_begin(trained)
    assert trained.filter(pa.array((hours >= begin) & (hours < begin + 48))).equals(coming)


@given(sessions=sessions_from(0).filter(bool))
@settings(max_examples=log_bytes.examples(0.3))
def test_features_are_the_oracle_s(sessions: list[Session]) -> None:
    actual, wanted = by_place(features_of(sessions)).to_pandas(), oracle_frames(sessions)[2]
    for name in wanted.columns:
        if name in classic.ROLLING_COLUMNS:
            np.testing.assert_allclose(actual[name], wanted[name], rtol=1e-12, atol=0)
        else:
            assert (actual[name].to_numpy() == wanted[name].to_numpy()).all(), name
