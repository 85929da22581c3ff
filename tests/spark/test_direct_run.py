"""Forecasts from an origin, from end to end: one run, whose rows are what one process makes of the same hours."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pytest

import loadcast
import runs
from loadcast import paths, schema
from loadcast.kernels.grid import hours_of
from loadcast.kernels.naive import NAIVE_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
KEYS = [
    (name, "ascending") for name in (schema.SERVER, schema.HOUR, schema.FORECAST_ORIGIN, "levelMean672", "sameHour0")
]


def test_a_run_forecasts_its_test_period_from_origins_as_its_client_would(
    spark: SparkSession, hostile_logs: runs.Logs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("direct")
    pattern = hostile_logs.write(folder / "data", {17: 2, 16: 1}, seed=1, shuffle=False)
    changes = {
        "forest": {"numTrees": 3, "maxDepth": 4},
        "featureSet": "direct",
        "labelRule": "perServer",
        "originEveryHours": 12,
    }
    run = runs.train(runs.etl(runs.make_settings(pattern, folder / "output", 50, 5, **changes)))
    wanted = loadcast.features(runs.table(run, paths.HOURLY), run.settings).sort_by(KEYS)
    rows = runs.table(run, paths.FEATURES).sort_by(KEYS)
    assert rows.select(wanted.schema.names).equals(wanted.replace_schema_metadata(rows.schema.metadata))
    tested = runs.test_rows(run)
    assert 100 < tested.num_rows < rows.num_rows
    # Each origin's hours all lie in the test period.
    predictions = runs.table(run, paths.PREDICTIONS)
    assert predictions.schema.names == schema.ORIGIN_PREDICTIONS_SCHEMA.names
    origins = predictions.column(schema.FORECAST_ORIGIN)
    first = run.settings.split - timedelta(hours=1)
    assert (pc.min(origins).as_py(), len(origins.unique())) == (first, (5 - 2) * 2 + 1)
    assert set(predictions.column(schema.HORIZON).to_pylist()) == set(range(1, 49))
    # A client that stands at the first origin gets the same answers, bit for bit.
    asked = loadcast.forecast(run.settings, begin=run.settings.split)
    shares = list(schema.PROBABILITY_COLUMNS.values())
    said = {(row[schema.SERVER], row[schema.HOUR]): [row[name] for name in shares] for row in asked.to_pylist()}
    made = predictions.filter(pc.equal(origins, first)).to_pylist()
    assert len(made) > 48
    assert all(said[row[schema.SERVER], row[schema.HOUR]] == [row[name] for name in shares] for row in made)
    # Scores by horizon are those of the predictions and of the naive forecasts beside the features.
    seen = tested.filter(tested.column(schema.OBSERVED))
    ahead = hours_of(seen.column(schema.HOUR)) - hours_of(seen.column(schema.FORECAST_ORIGIN))
    truth = seen.column(schema.LABEL).to_numpy()
    by_horizon = {scores["horizonHours"]: scores for scores in run.metrics["test"]["byHorizon"]}
    assert {hours: scores["rows"] for hours, scores in by_horizon.items()} == Counter(ahead.tolist())
    for hours, scores in by_horizon.items():
        chosen = ahead == hours
        for name in NAIVE_COLUMNS:
            right = (seen.column(name).to_numpy() == truth)[chosen].mean()
            assert scores["naive"][name] == pytest.approx(right, rel=1e-12), (hours, name)
    observed = predictions.filter(predictions.column(schema.OBSERVED))
    right = np.equal(observed.column(schema.PREDICTION).to_numpy(), observed.column(schema.LABEL).to_numpy()).mean()
    assert run.metrics["test"]["accuracy"] == pytest.approx(right, rel=1e-12)
    assert set(run.metrics["test"]["naive"]) == {*NAIVE_COLUMNS, "mostFrequent"}
