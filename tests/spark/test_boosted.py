"""Boosted trees from training to service: fitted by xgboost in a barrier stage, answered without it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

import runs
from loadcast import paths, schema
from loadcast.models.boosted_family import BoostedModel
from loadcast.serving.bundle import load_bundle
from loadcast.spark import boosted
from loadcast.spark.fitting import training_rows
from reference import feature_matrix

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

SETTINGS = {"numRounds": 8, "maxDepth": 3, "minChildWeight": 5.0, "learningRate": 0.3}


@pytest.fixture(scope="module")
def trained(hostile: runs.Run, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Boosted trees, trained on what ETL made of the hostile logs."""
    output = tmp_path_factory.mktemp("boosted") / "output"
    shutil.copytree(hostile.settings.output, output, symlinks=True)
    given = type(hostile.settings.boosted)(**SETTINGS)
    settings = hostile.settings.model_copy(update={"model": "boosted", "boosted": given, "output": str(output)})
    return runs.train(replace(hostile, settings=settings))


def test_the_service_answers_as_training_did(trained: runs.Run) -> None:
    bundle = load_bundle(trained.settings.output)
    assert isinstance(bundle.model, BoostedModel)
    wanted = bundle.model.predict(feature_matrix(runs.test_rows(trained), bundle.encoders))
    actual = runs.table(trained, paths.PREDICTIONS)
    assert actual.column(schema.PREDICTION).to_pylist() == wanted.labels.tolist()
    for name, shares in zip(schema.PROBABILITY_COLUMNS.values(), wanted.probabilities.T, strict=True):
        assert np.array_equal(actual.column(name).to_numpy(), shares)


def test_info_keeps_what_it_was_fitted_with(trained: runs.Run, hostile: runs.Run) -> None:
    info = trained.info
    assert info["model"] == "boosted"
    assert "forest" not in info
    assert info["modelSettings"] == trained.settings.boosted.model_dump(by_alias=True)
    assert info["modelSettings"] == {**info["modelSettings"], **SETTINGS}
    assert trained.metrics["test"]["naive"] == hostile.metrics["test"]["naive"]
    assert trained.metrics["train"]["accuracy"] > 0.6


def test_two_workers_agree_on_trees_that_do_not_depend_on_the_rows_order(
    spark: SparkSession, trained: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows in other partitions and another order, none of them high: the same trees, of all three classes."""
    monkeypatch.setattr(boosted, "workers_for", lambda spark, rows: (2, 1))
    path = str(trained.folder / paths.FEATURES)
    rows = training_rows(spark, path, trained.info["featureColumns"], trained.settings.split)
    rows = rows.filter(rows.label < 3)
    first, second = (
        boosted.fit(given, trained.settings).args[1]  # type: ignore[attr-defined]
        for given in (rows, rows.orderBy(schema.HOUR, ascending=False).repartition(3))
    )
    assert first.nodes.equals(second.nodes)
    assert json.dumps(first.metadata) == json.dumps(second.metadata)
    assert first.metadata["numTrees"] == 3 * SETTINGS["numRounds"]
