"""In which hours servers were seen: against the sessions themselves."""

from __future__ import annotations

import numpy as np
import pytest

from grids import grid_of, hour_number, random_sessions, session
from loadcast import schema
from loadcast.kernels.buckets import Buckets
from loadcast.kernels.coverage import Coverage, coverage_of
from loadcast.kernels.grid import build_grid
from oracle.quality import seen_hours
from oracle.rows import Session


def rows(coverage: Coverage) -> dict[str, tuple[int, int, int, int]]:
    """server → first and last hour, hours observed and hours without data."""
    columns = (coverage.first, coverage.last, coverage.observed, coverage.without_data)
    return dict(zip(coverage.servers, zip(*(column.tolist() for column in columns), strict=True), strict=True))


def wanted(sessions: list[Session]) -> dict[str, tuple[int, int, int, int]]:
    expected = {}
    for server, times in seen_hours(sessions).items():
        first, last = hour_number(min(times)), hour_number(max(times))
        expected[server] = first, last, len(times), last - first + 1 - len(times)
    return expected


@pytest.mark.parametrize("seed", range(8))
def test_the_coverage_is_that_of_the_sessions(seed: int) -> None:
    sessions = random_sessions(seed, servers=7)
    assert rows(coverage_of(grid_of(sessions))) == wanted(sessions)


def test_a_server_of_one_session_was_seen_in_one_hour() -> None:
    sessions = [session("10.0.0.1", 23.99), session("10.0.0.2", 24), session("10.0.0.2", 72.5, None)]
    actual = rows(coverage_of(grid_of(sessions)))
    assert actual == wanted(sessions)
    assert actual["10.0.0.1"][2:] == (1, 0)
    assert actual["10.0.0.2"][2:] == (2, 47)


def test_many_servers_go_there_and_back_as_text() -> None:
    number = 20_000
    codes = np.repeat(np.arange(number), 2)
    # Each server has a bucket at its own hour, and one as many days later as it has rest by 3.
    hours = np.stack((np.arange(number), np.arange(number) + 24 * (np.arange(number) % 3 + 1)), axis=1).ravel()
    sums = np.zeros((2 * number, len(schema.MEASURES)))
    names = tuple(f"10.0.{code >> 8}.{code & 255}" for code in range(number))
    actual = coverage_of(build_grid(Buckets(names, codes, hours * 12, np.ones_like(codes), sums)))
    assert actual.servers == names
    assert actual.first.tolist() == list(range(number))
    assert set(actual.observed.tolist()) == {2}
    assert actual.without_data.tolist() == [24 * (code % 3 + 1) - 1 for code in range(number)]
    assert rows(Coverage.from_json([actual.as_json()])) == rows(actual)


def test_the_parts_of_several_tasks_are_put_together() -> None:
    parts = [random_sessions(seed, servers=seed) for seed in (1, 3)]
    named = [
        [Session(f"10.{number}.0.{session.server[-1]}", session.start, session.numbers) for session in part]
        for number, part in enumerate(parts)
    ]
    texts = [coverage_of(grid_of(part)).as_json() for part in named]
    assert rows(Coverage.from_json(texts)) == wanted([*named[0], *named[1]])


def test_without_servers_there_is_nothing_to_say() -> None:
    assert rows(coverage_of(grid_of([]))) == {}
    nothing = Coverage.from_json([])
    assert rows(nothing) == rows(Coverage.from_json([nothing.as_json()])) == {}
    assert nothing.without_data.dtype == np.int64
