"""Scores where the test period has few observed hours, or none: null, and a warning that says so."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from loadcast import schema
from loadcast.kernels.features import Thresholds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

BEGIN = datetime(2016, 6, 1)
HOURS = 6


@pytest.fixture(scope="module")
def predicted(spark: SparkSession) -> Any:
    """What training predicts for six hours; the last one was not observed."""
    hours = [BEGIN + timedelta(hours=hour) for hour in range(HOURS)]
    probabilities = {name: [0.5] * HOURS for name in schema.PROBABILITY_COLUMNS.values()}
    columns = {
        schema.SERVER: ["10.0.0.1"] * HOURS,
        schema.HOUR: hours,
        schema.OBSERVED: [hour < HOURS - 1 for hour in range(HOURS)],
        schema.LABEL: [1, 2, 3, 1, 2, 3],
        "dayofweek": [3] * HOURS,
        "hourofday": list(range(HOURS)),
        "peakLoadLag48": [0.0] * HOURS,
        "peakLoadLag168": [0.0] * HOURS,
        schema.PREDICTION: [1.0] * HOURS,
        **probabilities,
    }
    return spark.createDataFrame(pa.table(columns).to_pandas())


def evaluated(predicted: Any, test_hours: int) -> dict[str, Any]:
    from loadcast.spark.evaluation import evaluate

    split = BEGIN + timedelta(hours=HOURS - test_hours)
    return json.loads(json.dumps(evaluate(predicted, split, Thresholds(100.0, 500.0)), allow_nan=False))


def test_without_an_observed_test_hour_nothing_is_known(predicted: Any) -> None:
    metrics = evaluated(predicted, 1)
    test = metrics["test"]
    assert (test["rows"], test["accuracy"], test["macroF1"], test["logLoss"], test["bestNaive"]) == (0, *[None] * 4)
    assert test["liftOverBestNaive"] == {"accuracy": None, "macroF1": None}
    assert {scores["macroF1"] for scores in test["naive"].values()} == {None}
    assert "no observed hour in the test period" in metrics["warning"]
    assert metrics["train"]["rows"] == HOURS - 1
    assert metrics["train"]["accuracy"] == 2 / 5


def test_two_test_hours_are_scored_with_a_warning(predicted: Any) -> None:
    metrics = evaluated(predicted, 3)
    assert (metrics["test"]["rows"], metrics["test"]["accuracy"]) == (2, 0.5)
    assert metrics["test"]["bestNaive"] is not None
    assert "of 2 observed hours of the test period" in metrics["warning"]
