"""Naive forecasts from an origin, hour by hour in plain Python; and how they are counted by horizon."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from grids import grid_of, random_sessions, session
from loadcast import schema
from loadcast.kernels.direct.relative import RelativeGrid
from loadcast.kernels.direct.rows import DirectRows
from loadcast.kernels.evaluation import evaluate
from loadcast.kernels.grid import times_of
from loadcast.kernels.horizon_tally import HorizonTally
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.naive import NAIVE_COLUMNS, naive_columns
from loadcast.kernels.tally import PartTally

RULE = LabelRule.absolute(0.5, 3.0)


def commonest(classes: list[int | None]) -> int:
    counts = Counter(label for label in classes if label)
    return min(counts, key=lambda label: (-counts[label], label)) if counts else 0


@pytest.mark.parametrize("seed", range(3))
def test_each_says_what_plain_python_says(seed: int) -> None:
    grid = grid_of(random_sessions(seed, servers=3, days=50, number=2500))
    drawn = np.random.default_rng(seed)
    slots = drawn.integers(0, len(grid.hours), 80)
    rows = DirectRows(RelativeGrid(grid, RULE), slots, slots - drawn.integers(1, 49, 80))
    until = int(grid.hours[len(grid.hours) // 3])
    said = naive_columns(rows, until)
    assert tuple(said) == NAIVE_COLUMNS
    labels = RULE.labels(grid.peaks[0], grid.servers, np.zeros(len(grid.hours), dtype=np.int64))
    known: dict[int, dict[int, int]] = {}
    for slot in np.flatnonzero(grid.observed).tolist():
        known.setdefault(int(grid.day_server[slot // 24]), {})[int(grid.hours[slot])] = int(labels[slot])
    for row, (slot, horizon) in enumerate(zip(slots.tolist(), rows.horizons.tolist(), strict=True)):
        own, hour = known[int(grid.day_server[slot // 24])], int(grid.hours[slot])
        origin = hour - horizon
        seen = {at: label for at, label in own.items() if at <= origin}
        newest = 24 if horizon <= 24 else 48
        last = next((seen[at] for at in range(origin, origin - 169, -1) if at in seen), 0)
        usual = [label for at, label in own.items() if at < until and (at - hour) % 168 == 0]
        wanted = {
            "sameClassAs48hBefore": seen.get(hour - 48, 0),
            "sameClassAs168hBefore": seen.get(hour - 168, 0),
            "mostFrequentOfSameHour7Days": commonest([seen.get(hour - 48 - 24 * day) for day in range(7)]),
            "mostFrequentOfSameHour28Days": commonest([seen.get(hour - 48 - 24 * day) for day in range(28)]),
            "mostFrequentOfHourOfWeek": commonest(usual),
            "classOfLastObservedHour": last,
            "sameHourOfNewestDay": seen.get(hour - newest, 0),
            "mostFrequentOfNewest7Days": commonest([seen.get(hour - newest - 24 * day) for day in range(7)]),
            "mostFrequentOfNewest28Days": commonest([seen.get(hour - newest - 24 * day) for day in range(28)]),
        }
        assert {name: int(values[row]) for name, values in said.items()} == wanted, row


def test_nothing_younger_than_the_origin_is_said() -> None:
    grid = grid_of([session("10.0.0.1", hour, hour * 7 % 5) for hour in range(45 * 24) if hour % 9])
    origin = 40 * 24 + 5
    slots = origin + np.arange(1, 49)
    later = np.arange(len(grid.hours)) > origin
    other = replace(grid, peaks=np.where(later, 9.0, grid.peaks), observed=grid.observed | later)
    answers = [
        naive_columns(DirectRows(RelativeGrid(one, RULE), slots, np.full(48, origin)), int(grid.hours[origin]) + 1)
        for one in (grid, other)
    ]
    for name in NAIVE_COLUMNS:
        np.testing.assert_array_equal(answers[0][name], answers[1][name], err_msg=name)


def made_rows(seed: int, number: int) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    hours = 400_000 + drawn.integers(0, 500, number)
    columns = {
        schema.SERVER: [f"10.0.0.{one}" for one in drawn.integers(1, 5, number)],
        schema.HOUR: times_of(hours),
        schema.FORECAST_ORIGIN: times_of(hours - drawn.integers(1, 49, number)),
        schema.OBSERVED: drawn.random(number) < 0.9,
        schema.LABEL: drawn.integers(1, 4, number).astype(np.int32),
        **{name: drawn.integers(0, 4, number).astype(np.int32) for name in NAIVE_COLUMNS},
    }
    shares = drawn.dirichlet((1, 1, 1), number)
    return pa.table(columns), shares.argmax(axis=1) + 1, shares


def test_counts_do_not_depend_on_how_rows_are_cut_and_travel_as_json() -> None:
    split = np.datetime64(400_250, "h").astype("datetime64[us]")
    rows, labels, shares = made_rows(1, 4000)
    whole, parts = HorizonTally(split), [HorizonTally(split), HorizonTally(split)]
    whole.add(rows, labels, shares)
    for part, (begin, end) in zip(parts, ((0, 1500), (1500, 4000)), strict=True):
        part.add(rows.slice(begin, end - begin), labels[begin:end], shares[begin:end])
    train, test = (
        PartTally.from_json(one.as_json()).plus(other)
        for one, other in zip(parts[0].parts(), parts[1].parts(), strict=True)
    )
    wanted, actual = evaluate(*whole.parts()), evaluate(train, test)
    for part in ("train", "test"):
        assert actual[part]["byHorizon"] == wanted[part]["byHorizon"]
        assert actual[part]["confusionMatrix"] == wanted[part]["confusionMatrix"]
        assert sum(scores["rows"] for scores in wanted[part]["byHorizon"]) == wanted[part]["rows"]
    assert len(wanted["test"]["byHorizon"]) == 48
