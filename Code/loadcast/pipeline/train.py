"""Training: features in; a forest, its scores beside naive forecasts, and the test period's predictions out."""

from __future__ import annotations

from functools import partial

from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.errors import ConfigError
from loadcast.pipeline.artefacts import versions
from loadcast.pipeline.sessions import thresholds
from loadcast.progress import Progress, logged_run, silent
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


@logged_run("train")
def run_train(settings: Settings, options: SparkOptions, progress: Progress = silent) -> Metrics:
    """Fit the forest on the newest run's features, score it, and publish both; returns the metrics.

    Raises ArtefactError where ETL has not run, ConfigError where it ran with other dates or thresholds.
    """
    output = open_output(settings)
    newest = open_run(output.at_hand({paths.CURRENT: [paths.INFO]}))
    _check_same(Info.read(newest), settings)  # before Spark starts, so that a mistake is told at once
    kept = [name for name in paths.ARTEFACTS if name not in _MADE_HERE]
    with output.stage(carry=kept) as staging, spark_failures(output.shown):
        staging.fetch([paths.INFO])
        info = Info.read(staging.folder)  # what was carried, under the lock, is what is trained on
        _check_same(info, settings)
        with progress("Starting Spark"):
            spark = create_session("loadcast train", options, meanwhile=_EVALUATION)
        connect(spark, staging)
        metrics = _fit_and_score(spark, staging, info.feature_columns, settings, progress)
        metrics.write(staging.folder)
        staging.fetch(paths.BUNDLE_FOLDERS)
        trained = {
            "versions": versions(),
            "forest": settings.forest.model_dump(by_alias=True),
            "files": sha256_of_files(staging.folder, [*paths.BUNDLE_FOLDERS, paths.METRICS]),
        }
        info.model_copy(update=trained).write(staging.folder)
    return metrics


def _fit_and_score(
    spark: Spark, staging: Staging, columns: list[str], settings: Settings, progress: Progress
) -> Metrics:
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
        return Metrics.of(evaluation.evaluate(predicted, settings.split, thresholds(settings)))


def _check_same(info: Info, settings: Settings) -> None:
    """Encoders and labels were made with ETL's dates and thresholds: training with others would mix two set-ups."""
    for key, found, wanted in (
        ("trainBegin", info.train_begin, settings.train_begin),
        ("testSplitStart", info.test_split_start, settings.split),
        ("lowThreshold", info.low_threshold, settings.low_threshold),
        ("highThreshold", info.high_threshold, settings.high_threshold),
    ):
        if found != wanted:
            raise ConfigError(
                f"{key}: ETL ran with {found}, the configuration says {wanted}. Run python Code/etl.py CONFIG again."
            )
