"""What a report counts on rows: the load of a usual week, right answers by server, hours of a few servers."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from loadcast import schema
from loadcast.kernels.hour_strips import HourStrips
from loadcast.kernels.load_profile import LoadProfile
from loadcast.kernels.server_scores import ServerScores
from loadcast.report.page.content import SHOWN_SERVERS, best_and_worst

BEGIN = datetime(2016, 2, 27, 5)


def predictions(seed: int = 0, n: int = 2_000) -> pa.Table:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 4, n)
    return pa.table(
        {
            schema.SERVER: [f"10.0.0.{at}" for at in rng.integers(0, 9, n)],
            schema.HOUR: pa.array(
                [BEGIN + timedelta(hours=int(at)) for at in rng.integers(0, 700, n)], schema.TIMESTAMP
            ),
            schema.OBSERVED: pa.array(rng.random(n) < 0.9),
            schema.LABEL: pa.array(labels, pa.int32(), mask=rng.random(n) < 0.05),
            schema.PREDICTION: np.where(rng.random(n) < 0.6, labels, rng.integers(1, 4, n)).astype(float),
        }
    )


def in_batches(table: pa.Table, to: Any) -> Any:
    for batch in table.to_batches(max_chunksize=333):
        to.add(batch)
    return to


def test_the_load_of_a_week_is_the_mean_of_observed_hours() -> None:
    rng = np.random.default_rng(1)
    hours = [BEGIN + timedelta(hours=int(at)) for at in rng.integers(0, 2_000, 1_500)]
    loads, observed = rng.random(1_500) * 100, rng.random(1_500) < 0.5
    columns = {schema.HOUR: pa.array(hours, schema.TIMESTAMP), schema.PEAK_LOAD: loads, schema.OBSERVED: observed}
    profile = in_batches(pa.table(columns), LoadProfile())
    wanted = defaultdict(list)
    for hour, load, seen in zip(hours, loads, observed, strict=True):
        if seen:
            wanted[hour.isoweekday() - 1, hour.hour].append(load)
    for slot in np.ndindex(7, 24):
        assert profile.counts[slot] == len(wanted[slot])
        assert profile.means[slot] == pytest.approx(np.mean(wanted[slot]) if wanted[slot] else np.nan, nan_ok=True)


def test_hours_before_1970_have_their_day_of_the_week() -> None:
    sunday = pa.array([datetime(1969, 12, 28, 23)], schema.TIMESTAMP)
    profile = LoadProfile()
    profile.add(pa.table({schema.HOUR: sunday, schema.PEAK_LOAD: [1.0], schema.OBSERVED: [True]}))
    assert profile.counts[6, 23] == 1


def test_a_server_is_as_accurate_as_its_observed_rows_say() -> None:
    table = predictions()
    rows = [row for row in table.to_pylist() if row[schema.OBSERVED] and row[schema.LABEL] is not None]
    scores = in_batches(table, ServerScores())
    found = scores.scores()
    assert [score.accuracy for score in found] == sorted((score.accuracy for score in found), reverse=True)
    for score in found:
        mine = [row for row in rows if row[schema.SERVER] == score.server]
        right = sum(row[schema.LABEL] == row[schema.PREDICTION] for row in mine)
        commonest = Counter(row[schema.LABEL] for row in mine).most_common(1)[0][1]
        assert (score.rows, score.accuracy, score.commonest) == (len(mine), right / len(mine), commonest / len(mine))
    by_hour = Counter((row[schema.HOUR].hour, row[schema.LABEL]) for row in rows)
    assert {(hour, at + 1): n for (hour, at), n in np.ndenumerate(scores.by_hour) if n} == by_hour


def test_without_rows_there_are_no_scores() -> None:
    scores = ServerScores()
    scores.add(predictions(n=5).slice(0, 0))
    assert (scores.scores(), int(scores.by_hour.sum())) == ([], 0)


@pytest.mark.parametrize(("servers", "best", "worst"), [(1, 1, 0), (5, 3, 2), (20, 10, 10), (99, 10, 10)])
def test_best_and_worst_are_different_servers(servers: int, best: int, worst: int) -> None:
    names: list[Any] = [f"s{at}" for at in range(servers)]
    first, last = best_and_worst(names)
    assert (len(first), len(last)) == (best, worst) <= (SHOWN_SERVERS, SHOWN_SERVERS)
    assert first == names[:best]
    assert last == names[::-1][:worst]


def strip_rows(*rows: tuple[str, int, bool, int | None, int, int]) -> pa.RecordBatch:
    """Rows of server, hour from BEGIN, observed, label, prediction, horizon."""
    names = (schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL, schema.PREDICTION, schema.HORIZON)
    types = (pa.string(), schema.TIMESTAMP, pa.bool_(), pa.int32(), pa.float64(), pa.int32())
    columns = [list(column) for column in zip(*rows, strict=True)]
    columns[1] = [BEGIN + timedelta(hours=hour) for hour in columns[1]]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def test_an_hour_counts_with_the_forecast_of_about_a_day_before() -> None:
    rows = [("a", 0, True, 1, 1, 5), ("a", 0, True, 1, 2, 23), ("a", 0, True, 1, 3, 29)]
    rows += [("a", 1, True, 2, 3, 30), ("a", 1, True, 2, 1, 48), ("b", 5, True, 3, 3, 1)]
    for order in (rows, rows[::-1]):
        strips = HourStrips(["a", "not there"], 100)
        for row in order:
            strips.add(strip_rows(row))
        (strip,) = strips.strips().values()
        assert (strip.actual.tolist(), strip.forecast.tolist()) == ([1, 2], [2, 3])


def test_strips_are_of_the_last_hours_and_of_the_same_ones() -> None:
    rows = [("a", hour, hour != 7, hour % 3 + 1, 1, 1) for hour in range(10)] + [("b", 9, True, None, 2, 1)]
    strips = HourStrips(["a", "b"], 4)
    strips.add(strip_rows(*rows))
    found = strips.strips()
    assert found["a"].actual.tolist() == [1, 0, 3, 1]
    assert found["b"].actual.tolist() == [0, 0, 0, 0]
    assert found["b"].forecast.tolist() == [0, 0, 0, 2]
    assert {strip.begin_h for strip in found.values()} == {
        int((BEGIN - datetime(1970, 1, 1)).total_seconds()) // 3600 + 6
    }


def test_no_rows_make_no_strips() -> None:
    assert HourStrips(["a"], 4).strips() == {}
