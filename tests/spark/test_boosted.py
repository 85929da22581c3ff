"""Boosted trees from training to service: grown by xgboost, here or in a barrier stage, answered without it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

import runs
from loadcast import paths, schema
from loadcast.kernels.row_order import row_hashes
from loadcast.models.boosted_family import BoostedModel
from loadcast.serving.bundle import load_bundle
from loadcast.spark import boosted
from loadcast.spark.fitting import Fitted, TrainingTable, training_rows
from loadcast.storage.table_files import FolderTables
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


def test_this_process_grows_what_one_worker_of_spark_does(
    spark: SparkSession, trained: runs.Run, tmp_path: Path
) -> None:
    path = f"file://{trained.folder / paths.FEATURES}"
    rows = training_rows(spark, path, trained.info["featureColumns"], trained.settings.split)
    boosted.fit(rows, trained.settings)(f"file://{tmp_path}")
    here = trained.folder / paths.FOREST_MODEL
    assert [file.name for file in (here / "data").glob("part-*")] == ["part-00000.snappy.parquet"]
    assert pq.read_table(tmp_path / "data").equals(pq.read_table(here / "data"))
    (theirs,), (ours,) = ((folder / "metadata").glob("part-*") for folder in (tmp_path, here))
    assert theirs.read_bytes() == ours.read_bytes()
    assert (
        spark.read.parquet(f"file://{here / 'data'}").schema == spark.read.parquet(f"file://{tmp_path / 'data'}").schema
    )


def test_rows_have_the_hashes_that_spark_gives_them(spark: SparkSession) -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(300, 7)).astype(np.float32)
    matrix[random.random(matrix.shape) < 0.3] = schema.MISSING
    matrix[:9, 1] = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 1e38, 1.0, -1.0]
    labels = random.integers(0, 3, 300).astype(np.float32)
    given = spark.createDataFrame(list(zip(matrix.tolist(), labels.tolist(), strict=True)), "x array<float>, y float")
    wanted = [row[0] for row in given.select(F.xxhash64("x", "y")).collect()]
    assert row_hashes(matrix, labels).tolist() == wanted


def test_where_this_process_cannot_spark_does(
    spark: SparkSession, trained: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / paths.FEATURES).mkdir()
    hours, split = [datetime(2016, 6, 1)] * 40, datetime(2016, 6, 2)
    table = TrainingTable(spark, f"file://{tmp_path / paths.FEATURES}", ("x",), split, FolderTables(str(tmp_path)))

    def fitted(value: float = 0.5) -> Fitted | None:
        columns = {schema.HOUR: pa.array(hours, pa.timestamp("us")), schema.OBSERVED: [True] * 40}
        rows = pa.table({**columns, schema.LABEL: pa.array([1, 2] * 20, pa.int32()), "x": [value, 0.5] * 20})
        pq.write_table(rows, tmp_path / paths.FEATURES / "part-0.parquet")
        return boosted.fit_here(table, trained.settings)

    assert fitted() is not None
    assert fitted(1e300) is None
    with monkeypatch.context() as patch:
        patch.setattr(boosted, "is_local", lambda master: False)
        assert fitted() is None
    monkeypatch.setattr("loadcast.spark.rows_here.MOST_BYTES", 40 * 16 - 1)
    assert fitted() is None


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
