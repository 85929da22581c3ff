"""Labels by bounds that are learned, from end to end: one run, whose bounds are each server's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import loadcast
import runs
from loadcast import paths, schema
from loadcast.errors import ConfigError
from loadcast.serving.predictor import Predictor

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_a_run_labels_by_bounds_of_each_server_and_keeps_them(
    spark: SparkSession, hostile_logs: runs.Logs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rules")
    pattern = hostile_logs.write(folder / "data", {17: 2, 16: 1}, seed=1, shuffle=False)
    changes = {"forest": {"numTrees": 2, "maxDepth": 3}, "labelRule": "perServer", "highQuantile": 0.9}
    run = runs.train(runs.etl(runs.make_settings(pattern, folder / "output", 50, 5, **changes)))
    hours, labels = runs.table(run, paths.HOURLY), run.info["labels"]
    # What the same hours teach and are labelled in one process, without Spark.
    wanted = loadcast.features(hours, run.settings).sort_by(runs.HOUR_KEYS)
    rows = runs.table(run, paths.FEATURES)
    assert rows.column(schema.LABEL).equals(wanted.column(schema.LABEL))
    assert set(rows.column(schema.LABEL).to_pylist()) == {1, 2, 3}
    known = hours.to_pandas().query(f"{schema.OBSERVED} and {schema.HOUR} < '{run.settings.split}'")
    fleet = np.quantile(known[schema.PEAK_LOAD], [0.5, 0.9]).tolist()
    assert labels["common"] == {"low": fleet[0], "high": fleet[1], "source": "fleet"}
    assert [run.info["lowThreshold"], run.info["highThreshold"]] == fleet
    own = {server: group[schema.PEAK_LOAD] for server, group in known.groupby(schema.SERVER) if len(group) >= 168}
    assert labels["servers"] == {
        server: {**dict(zip(("low", "high"), np.quantile(peaks, [0.5, 0.9]), strict=True)), "source": "server"}
        for server, peaks in own.items()
    }
    assert len(own) > 1
    # Scores are of the same labels, and a lag's class is by the server's own bounds.
    observed = rows.filter(rows.column(schema.OBSERVED)).to_pandas()
    test = observed[observed[schema.HOUR] >= run.settings.split]
    supports = [scores["support"] for scores in run.metrics["test"]["perClass"].values()]
    assert supports == [int((test[schema.LABEL] == label).sum()) for label in (1, 2, 3)]
    rule = Predictor.load(run.settings.output).info.label_rule
    bounds = [rule.bounds(server) for server in test[schema.SERVER]]
    lags = zip(test["peakLoadLag48"], bounds, strict=True)
    before = [1 + (lag > bound.low) + (lag > bound.high) for lag, bound in lags]
    accuracy = run.metrics["test"]["naive"]["sameClassAs48hBefore"]["accuracy"]
    assert accuracy == pytest.approx((test[schema.LABEL] == before).mean(), rel=1e-12)
    for key, value, said in (
        ("label_rule", "quantile", "labelRule: ETL ran with perServer, the configuration says quantile"),
        ("high_quantile", 0.8, "highQuantile: ETL ran with 0.9, the configuration says 0.8"),
    ):
        with pytest.raises(ConfigError, match=said):
            runs.train(runs.Run(run.settings.model_copy(update={key: value}), run.folder, {}, {}))
