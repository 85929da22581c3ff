"""Training: features in; a forest, its scores beside naive forecasts, and the test period's predictions out."""

from __future__ import annotations

from functools import partial
from typing import Any

from loadcast import paths, schema
from loadcast.errors import ConfigError
from loadcast.feature_sets import INFO_KEY, described, feature_set
from loadcast.kernels.features import CLASSIC
from loadcast.pipeline.artefacts import read_info, versions, write_json
from loadcast.pipeline.sessions import label_rule
from loadcast.progress import Progress, silent
from loadcast.settings import Settings
from loadcast.spark.azure import connect
from loadcast.spark.failures import spark_failures
from loadcast.spark.progress import watched
from loadcast.spark.session import Spark, SparkOptions, create_session
from loadcast.spark.write import side_by_side
from loadcast.storage.checksum import sha256_of_files
from loadcast.storage.output import open_output
from loadcast.storage.publish import open_run
from loadcast.storage.staging import Staging

_EVALUATION = "loadcast.spark.evaluation"  # imports pyspark.ml: loaded while the JVM starts
_MADE_HERE = {paths.FOREST_MODEL, paths.METRICS, paths.PREDICTIONS}


def run_train(settings: Settings, options: SparkOptions, progress: Progress = silent) -> dict[str, Any]:
    """Fit the forest on the newest run's features, score it, and publish both; returns the metrics.

    Raises ArtefactError where ETL has not run, ConfigError where it ran with other dates or thresholds.
    """
    output = open_output(settings)
    newest = open_run(output.at_hand({paths.CURRENT: [paths.INFO]}))
    _check_same(read_info(newest), settings)  # before Spark starts, so that a mistake is told at once
    kept = [name for name in paths.ARTEFACTS if name not in _MADE_HERE]
    with output.stage(carry=kept) as staging, spark_failures():
        staging.fetch([paths.INFO])
        info = read_info(staging.folder)  # what was carried, under the lock, is what is trained on
        _check_same(info, settings)
        with progress("Starting Spark"):
            spark = create_session("loadcast train", options, meanwhile=_EVALUATION)
        connect(spark, staging)
        metrics = _fit_and_score(spark, staging, info["featureColumns"], settings, progress)
        write_json(staging.folder / paths.METRICS, metrics)
        staging.fetch(paths.BUNDLE_FOLDERS)
        info |= {"versions": versions(), "forest": settings.forest.model_dump(by_alias=True)}
        info["files"] = sha256_of_files(staging.folder, [*paths.BUNDLE_FOLDERS, paths.METRICS])
        write_json(staging.folder / paths.INFO, info)
    return metrics


def _fit_and_score(
    spark: Spark, staging: Staging, columns: list[str], settings: Settings, progress: Progress
) -> dict[str, Any]:
    """Grow the forest, save it and the test period's predictions; returns the metrics."""
    from loadcast.spark import evaluation, forest

    rows = forest.load_features(spark, staging.address(paths.FEATURES), columns)
    with watched(spark, progress, f"Growing {settings.forest.num_trees} trees"):
        model = forest.fit_forest(forest.training_rows(rows, settings.split), settings.forest)
    with (
        watched(spark, progress, "Scoring train and test"),
        forest.predict(model, rows) as predicted,
        side_by_side() as start,
    ):
        start(partial(forest.save_model, model, staging.address(paths.FOREST_MODEL)))
        predicted.count()  # computes and keeps the rows on all cores, before a job that writes them with one task
        start(partial(forest.write_predictions, predicted, settings.split, staging.address(paths.PREDICTIONS)))
        return evaluation.evaluate(predicted, settings.split, label_rule(settings))


def _check_same(info: dict[str, Any], settings: Settings) -> None:
    """Encoders and labels were made with ETL's dates and thresholds: training with others would mix two set-ups."""
    wanted = {
        "trainBegin": settings.train_begin.strftime(schema.TIME_FORMAT),
        "testSplitStart": settings.split.strftime(schema.TIME_FORMAT),
        "lowThreshold": settings.low_threshold,
        "highThreshold": settings.high_threshold,
        INFO_KEY: described(feature_set(settings.feature_set)),
    }
    info = {INFO_KEY: described(CLASSIC), **info}
    for key, value in wanted.items():
        if info.get(key) != value:
            raise ConfigError(
                f"{key}: ETL ran with {info.get(key)!r}, the configuration says {value!r}. "
                "Run python Code/etl.py CONFIG again."
            )
