"""A feature set that only this process knows goes the whole way: ETL, training, bundle, service and client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pytest

import recipe
import runs
from loadcast import feature_sets, paths, schema
from loadcast.errors import ConfigError
from loadcast.kernels.encode import encoded_table, encoders_of
from loadcast.kernels.features import FeatureSet
from loadcast.kernels.features.history import lag
from loadcast.kernels.training import summarize
from loadcast.serving.client import ScoringClient
from loadcast.serving.predictor import Predictor
from loadcast.serving.statistics import open_statistics, scoring_features
from published import running_service

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

DAYS, TEST_DAYS = 50, 7
RECIPE = recipe.read_recipe()


@pytest.fixture(scope="module")
def weekly(spark: SparkSession) -> Iterator[FeatureSet]:
    """The recipe's set, of a module that no worker can import."""
    from pyspark import cloudpickle

    module = sys.modules["weekly_here"] = ModuleType("weekly_here")
    exec(RECIPE.source, module.__dict__)
    feature_sets.register(module.FEATURES)
    yield module.FEATURES
    feature_sets.unregister(module.FEATURES.name)
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["weekly_here"]


@pytest.fixture(scope="module")
def run(weekly: FeatureSet, hostile: runs.Run, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    output = tmp_path_factory.mktemp("weekly") / "output"
    changes = {**RECIPE.settings, "forest": {"numTrees": 5, "maxDepth": 4}}
    return runs.train(runs.etl(runs.make_settings(hostile.settings.data_file, output, DAYS, TEST_DAYS, **changes)))


def test_etl_makes_the_set_s_columns(run: runs.Run, weekly: FeatureSet) -> None:
    rows = runs.table(run, paths.FEATURES)
    encoded = ["ServerIP_indexed", "quarter_indexed", "ServerIP_indexed_encoded", "quarter_indexed_encoded"]
    scaled = ["scaledpeakLoadLag336", "scaledpeakLoadUpperWeek"]
    assert rows.column_names == [*weekly.schema.names, *encoded, *scaled]
    assert pc.max(rows.column("peakLoadLag336")).as_py() > 0
    statistics = (runs.table(run, name).to_pylist() for name in (paths.HOURLY, paths.DAILY))
    recipe.assert_as_described(rows.select(weekly.schema.names).to_pylist(), *statistics)


def test_info_names_the_set_and_its_columns(run: runs.Run) -> None:
    assert run.info["featureSet"] == {"name": "weekly", "version": 1}
    assert run.info["featureColumns"] == [
        "ServerIP_indexed_encoded", "quarter_indexed_encoded", "scaledpeakLoadLag336", "scaledpeakLoadUpperWeek"
    ]  # fmt: skip


def test_the_naive_forecasts_are_those_beside_classic(run: runs.Run, hostile: runs.Run) -> None:
    assert run.metrics["test"]["rows"] > 100
    assert run.metrics["test"]["naive"].keys() == hostile.metrics["test"]["naive"].keys()
    same = "sameClassAs48hBefore"
    assert run.metrics["test"]["naive"][same]["rows"] == run.metrics["test"]["rows"]


def test_service_and_client_answer_as_spark_did(run: runs.Run) -> None:
    predictions = {row[schema.KEY]: row for row in runs.table(run, paths.PREDICTIONS).to_pylist()}
    compared = 0
    with running_service(Predictor.load(run.folder)) as url, ScoringClient(url) as client:
        for source in scoring_features(open_statistics(run.folder), None, run.settings.split):
            records: list[dict[str, Any]] = list(source.records())
            for record, answer in zip(records, client.score(records), strict=True):
                if record[schema.KEY] in predictions:
                    row = predictions[record[schema.KEY]]
                    assert answer.label == row[schema.PREDICTION]
                    assert answer.probabilities == tuple(row[name] for name in schema.PROBABILITY_COLUMNS.values())
                    compared += 1
    assert compared > 200
    assert np.isfinite(run.metrics["test"]["logLoss"])


def test_a_set_without_categories_has_models_that_spark_can_read(
    spark: SparkSession, hostile: runs.Run, tmp_path: Path
) -> None:
    from pyspark.ml import PipelineModel

    from loadcast.spark.encoders import encoded_struct, encoder_models

    bare = FeatureSet("bare", 1, (lag(48),), categories=())
    training = summarize(runs.table(hostile, paths.FEATURES), bare, 2**40)
    encoders = encoders_of(bare, training)
    for save in encoder_models(spark, encoders, training).save_jobs(lambda name: str(tmp_path / name)):
        save()
    for name in (paths.STRING_INDEX_MODEL, paths.ONE_HOT_MODEL):
        (stage,) = PipelineModel.load(str(tmp_path / name)).stages
        assert stage.getInputCols() == []
    rows = runs.table(hostile, paths.FEATURES).select(bare.schema.names)
    assert encoded_table(rows, encoders).column_names == encoded_struct(encoders).fieldNames()


def test_training_on_another_set_than_etl_made_names_the_key(run: runs.Run) -> None:
    settings = run.settings.model_copy(update={"feature_set": "classic"})
    with pytest.raises(ConfigError, match=r"featureSet: ETL ran with .*weekly.* the configuration says .*classic"):
        runs.train(runs.Run(settings, run.folder, {}, {}))
