"""Scores where the test period has few observed hours, or none: null, and a warning that says so."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.kernels.evaluation import evaluate
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.tally import Tally

BEGIN = datetime(2016, 6, 1)
HOURS = 6


def evaluated(test_hours: int) -> dict[str, Any]:
    """Scores of answers that always say low, for six hours; the last one was not observed."""
    hours = [BEGIN + timedelta(hours=hour) for hour in range(HOURS)]
    columns = {
        schema.SERVER: ["10.0.0.1"] * HOURS,
        schema.HOUR: pa.array(hours, schema.TIMESTAMP),
        schema.OBSERVED: [hour < HOURS - 1 for hour in range(HOURS)],
        schema.LABEL: pa.array([1, 2, 3, 1, 2, 3], pa.int32()),
        "dayofweek": [3] * HOURS,
        "hourofday": list(range(HOURS)),
        "peakLoadLag48": [0.0] * HOURS,
        "peakLoadLag168": [0.0] * HOURS,
    }
    tally = Tally(BEGIN + timedelta(hours=HOURS - test_hours), LabelRule.absolute(100.0, 500.0))
    tally.add(pa.table(columns), np.ones(HOURS, dtype=np.intp), np.full((HOURS, 3), 0.5))
    return json.loads(json.dumps(evaluate(*tally.parts()), allow_nan=False))


def test_without_an_observed_test_hour_nothing_is_known() -> None:
    metrics = evaluated(1)
    test = metrics["test"]
    assert (test["rows"], test["accuracy"], test["macroF1"], test["logLoss"], test["bestNaive"]) == (0, *[None] * 4)
    assert test["liftOverBestNaive"] == {"accuracy": None, "macroF1": None}
    assert {scores["macroF1"] for scores in test["naive"].values()} == {None}
    assert "no observed hour in the test period" in metrics["warning"]
    assert metrics["train"]["rows"] == HOURS - 1
    assert metrics["train"]["accuracy"] == 2 / 5


def test_two_test_hours_are_scored_with_a_warning() -> None:
    metrics = evaluated(3)
    assert (metrics["test"]["rows"], metrics["test"]["accuracy"]) == (2, 0.5)
    assert metrics["test"]["bestNaive"] is not None
    assert "of 2 observed hours of the test period" in metrics["warning"]
