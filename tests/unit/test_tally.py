"""Counts of answers, against counting row by row."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast import schema
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.decisions import DecisionRule, DecisionTally
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.tally import (
    ANSWERS,
    HOUR_OF_WEEK,
    MODEL,
    SAME_AS_48H,
    SAME_AS_168H,
    SAME_HOUR,
    PartTally,
    Tally,
    no_tally,
)

BEGIN = datetime(2016, 6, 1)
SPLIT = datetime(2016, 6, 3)
BOUNDS = LabelRule.absolute(100, 500)
DECISIONS = DecisionRule(((0.0, 1.0, 2.0), (3.0, 0.0, 1.0), (9.0, 4.0, 0.0)), 0.6)
LOADS = st.sampled_from([0.0, 100.0, math.nextafter(100, 101), 500.0, 501.0])
CLASS = st.integers(1, 3)
SHARES = st.sampled_from([(1.0, 0.0, 0.0), (0.25, 0.5, 0.25), (0.0, 0.0, 1.0), (0.1, 0.2, 0.7)])
ROW = st.tuples(st.integers(0, 2), st.integers(0, 95), st.booleans(), CLASS, CLASS, LOADS, LOADS, SHARES)
Row = tuple[int, int, bool, int, int, float, float, tuple[float, float, float]]


def add(tally: Tally, rows: list[Row]) -> None:
    """Hours are of four days, named as if of one week of two days, so that they meet again."""
    times = [BEGIN + timedelta(hours=row[1]) for row in rows]
    table = pa.table(
        {
            schema.SERVER: pa.array([f"10.0.0.{row[0]}" for row in rows], pa.string()),
            schema.HOUR: pa.array(times, schema.TIMESTAMP),
            schema.OBSERVED: pa.array([row[2] for row in rows], pa.bool_()),
            schema.LABEL: pa.array([row[3] for row in rows], pa.int32()),
            "dayofweek": pa.array([1 + time.day % 2 for time in times], pa.int32()),
            "hourofday": pa.array([time.hour for time in times], pa.int32()),
            "peakLoadLag48": pa.array([row[5] for row in rows], pa.float64()),
            "peakLoadLag168": pa.array([row[6] for row in rows], pa.float64()),
        }
    )
    labels = np.array([row[4] for row in rows], dtype=np.intp)
    tally.add(table, labels, np.array([row[7] for row in rows], dtype=np.float64).reshape(-1, 3))


def by_hand(rows: list[Row], test: bool) -> PartTally:
    """The counts of a part, row by row."""
    observed = [row for row in rows if row[2]]
    is_test = [BEGIN + timedelta(hours=row[1]) >= SPLIT for row in observed]
    usual: dict[tuple[int, int], Counter[int]] = {}
    for row, later in zip(observed, is_test, strict=True):
        if not later:
            usual.setdefault((row[0], row[1] % 48), Counter())[row[3]] += 1
    classes = {row[:2]: row[3] for row in observed}
    counts = {name: np.zeros((3, 4), dtype=np.int64) for name in ANSWERS}
    loss = 0.0
    for row, later in zip(observed, is_test, strict=True):
        if later == test:
            known = usual.get((row[0], row[1] % 48), Counter())
            said = {MODEL: row[4], HOUR_OF_WEEK: commonest(known)}
            said |= {SAME_AS_48H: class_of(row[5]), SAME_AS_168H: class_of(row[6])}
            for name, days in SAME_HOUR.items():
                earlier = ((row[0], row[1] - 24 * day) for day in range(2, 2 + days))
                said[name] = commonest(Counter(classes[key] for key in earlier if key in classes))
            for name in ANSWERS:
                counts[name][row[3] - 1, said[name]] += 1
            loss -= math.log(max(row[7][row[3] - 1], 1e-15))
    scored = [row for row, later in zip(observed, is_test, strict=True) if later == test]
    truth, labels = (np.array([row[column] for row in scored], dtype=np.intp) for column in (3, 4))
    shares = np.array([row[7] for row in scored], dtype=np.float64).reshape(-1, 3)
    decisions = DecisionTally.of(DECISIONS, truth, labels, shares)
    return PartTally(counts, loss, Calibration.of(truth, labels, shares), decisions=decisions)


def commonest(known: Counter[int]) -> int:
    """The lower of equals; 0 of none."""
    return min(known, key=lambda label: (-known[label], label), default=0)


def class_of(load: float) -> int:
    return 1 if load <= 100 else 2 if load <= 500 else 3


def assert_same(actual: PartTally, wanted: PartTally) -> None:
    for name in ANSWERS:
        assert actual.confusion[name].tolist() == wanted.confusion[name].tolist(), name
    assert actual.loss == pytest.approx(wanted.loss, rel=1e-12, abs=1e-12)
    assert actual.calibration.report() == wanted.calibration.report()
    assert actual.decisions.as_json() == wanted.decisions.as_json()


@given(st.lists(ROW, max_size=60, unique_by=lambda row: row[:2]), st.integers(0, 60))
def test_counts_are_those_of_each_observed_row(rows: list[Row], cut: int) -> None:
    tally = Tally(SPLIT, BOUNDS, DECISIONS)
    for part in (rows[:cut], rows[cut:]):
        add(tally, part)
    for test, actual in zip((False, True), tally.parts(), strict=True):
        assert_same(actual, by_hand(rows, test))
    assert set(tally.servers) == {f"10.0.0.{row[0]}" for row in rows if row[2]}


def test_counts_travel_as_json_and_add_up() -> None:
    rows: list[Row] = [
        (0, 1, True, 1, 2, 0.0, 501.0, (0.1, 0.2, 0.7)),
        (1, 70, True, 3, 3, 501.0, 0.0, (0.0, 0.0, 1.0)),
    ]
    tally = Tally(SPLIT, BOUNDS, DECISIONS)
    add(tally, rows)
    train, test = tally.parts()
    assert_same(PartTally.from_json(json.loads(json.dumps(train.as_json()))), train)
    both = train.plus(test).plus(no_tally())
    assert both.confusion[MODEL].sum() == 2
    assert both.loss == train.loss + test.loss
    assert both.calibration.rows.sum() == train.calibration.rows.sum() + test.calibration.rows.sum()


def test_no_rows_are_no_counts() -> None:
    for actual in Tally(SPLIT, BOUNDS, DECISIONS).parts():
        assert_same(actual, no_tally())
