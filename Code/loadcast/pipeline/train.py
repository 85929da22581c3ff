"""Training: features in; a model, its scores beside naive forecasts, and the test period's predictions out."""

from __future__ import annotations

import importlib
from functools import partial

from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.errors import ConfigError
from loadcast.kernels.decisions import DecisionRule
from loadcast.kernels.evaluation import evaluate
from loadcast.kernels.labels import LabelQuantiles, LabelRule
from loadcast.models.model import INFO_ENTRIES, Model
from loadcast.models.registry import family_named, load_model
from loadcast.models.saved import read_saved
from loadcast.pipeline.artefacts import versions
from loadcast.progress import Progress, logged_run
from loadcast.rules import Rules
from loadcast.run_request import RunRequest
from loadcast.run_result import Published
from loadcast.settings import Settings
from loadcast.spark.azure import connect
from loadcast.spark.failures import spark_failures
from loadcast.spark.gating import gated_scores
from loadcast.spark.progress import watched
from loadcast.spark.scoring import ScoreTask, score_features
from loadcast.spark.session import Spark, create_session, wake_workers
from loadcast.storage.checksum import sha256_of_files
from loadcast.storage.output import open_output
from loadcast.storage.publish import open_run
from loadcast.storage.staging import Staging

_FITTING = "loadcast.spark.fitting"  # imports pyspark.ml, which takes a second: loaded while the JVM starts
_MADE_HERE = {paths.FOREST_MODEL, paths.METRICS, paths.PREDICTIONS}


@logged_run("train")
def train(request: RunRequest, progress: Progress) -> Published:
    """Fit the model on the newest run's features, score it, and publish both.

    Raises ArtefactError where ETL has not run, ConfigError where it ran with other dates or thresholds.
    """
    settings, options = request.settings, request.spark
    family, rules = family_named(settings.model), Rules.of(settings, split=settings.split)
    decisions = DecisionRule(settings.costs, settings.min_confidence)
    output = open_output(settings)
    newest = open_run(output.at_hand({paths.CURRENT: [paths.INFO]}))
    _check_same(Info.read(newest), settings, rules)  # before Spark starts, so that a mistake is told at once
    kept = [name for name in paths.ARTEFACTS if name not in _MADE_HERE]
    with output.stage(carry=kept) as staging, spark_failures(output.shown):
        staging.fetch([paths.INFO])
        info = Info.read(staging.folder)  # what was carried, under the lock, is what is trained on
        _check_same(info, settings, rules)
        with progress("Starting Spark"):
            spark = create_session("loadcast train", options, meanwhile=partial(importlib.import_module, _FITTING))
        connect(spark, staging)
        model = _fit(spark, staging, info.feature_columns, settings, progress)
        with watched(spark, progress, "Scoring train and test"):
            task = _scoring(staging, info, model, decisions)
            scores = score_features(spark, task)
            evaluated = evaluate(scores.train, scores.test, decisions)
            evaluated["test"]["gated"] = gated_scores(spark, task, scores, evaluated)
        metrics = Metrics.of(evaluated)
        metrics.write(staging.folder)
        staging.fetch(name for name in paths.BUNDLE_FOLDERS if name != paths.FOREST_MODEL)  # that is here already
        trained = {
            **{name: value for name, value in info.document().items() if name not in INFO_ENTRIES},
            **{"versions": versions(), "model": family.name, **family.record(settings)},
            **({} if scores.check is None else {"selfCheck": scores.check}),
            **_record(decisions),
            "files": sha256_of_files(staging.folder, [*paths.BUNDLE_FOLDERS, paths.METRICS]),
        }
        Info.of(trained).write(staging.folder)
    return Published(staging.run, output.shown, metrics=metrics)


def _fit(spark: Spark, staging: Staging, columns: list[str], settings: Settings, progress: Progress) -> Model:
    """Fit the model and save it; returns it as the service will load it."""
    from loadcast.spark import fitting

    family = family_named(settings.model)
    with watched(spark, progress, family.caption(settings)):
        rows = fitting.training_rows(spark, staging.address(paths.FEATURES), columns, settings.split)
        save = fitting.fitting_of(family)(rows, settings)
    wake_workers(spark, 1)  # which can fork the others as soon as it has imported what they need
    save(staging.address(paths.FOREST_MODEL))
    staging.fetch([paths.FOREST_MODEL])
    return load_model(read_saved(staging.folder, [paths.FOREST_MODEL]), fitting.number_of_features(rows))


def _record(decisions: DecisionRule) -> dict[str, object]:
    """What `info` keeps of the rule."""
    kept = {"costs": decisions.costs, "minConfidence": decisions.min_confidence}
    return {name: value for name, value in kept.items() if value is not None}


def _scoring(staging: Staging, info: Info, model: Model, decisions: DecisionRule) -> ScoreTask:
    """What writes the test period's predictions, and says how good they are."""
    source = staging.carried_tables(paths.FEATURES)
    return ScoreTask(
        files=tuple(source.names(paths.FEATURES)),
        source=source,
        predictions=staging.tables,
        columns=tuple(info.feature_columns),
        record_columns=tuple(info.features.request_schema.names),
        model=model,
        split=info.test_split_start,  # as the configuration has it: that was checked
        rule=info.label_rule,
        has_origins=info.features.simulates_cutoffs,
        decisions=decisions,
    )


def _check_same(info: Info, settings: Settings, rules: Rules) -> None:
    """Encoders and labels were made with ETL's dates and bounds: training with others would mix two set-ups."""
    features = rules.features
    for key, actual, wanted in (
        ("featureSet", f"{info.feature_set.name} {info.feature_set.version}", f"{features.name} {features.version}"),
        ("trainBegin", info.train_begin, settings.train_begin),
        ("testSplitStart", info.test_split_start, settings.split),
        *_bounds(info, rules.labels),
    ):
        if actual != wanted:
            raise ConfigError(
                f"{key}: ETL ran with {actual}, the configuration says {wanted}. Run python Code/etl.py CONFIG again."
            )


def _bounds(info: Info, asked: LabelRule | LabelQuantiles) -> list[tuple[str, object, object]]:
    """What decides the bounds of classes: key, what ETL ran with, what the configuration says."""
    rule = ("labelRule", info.label_rule.name, asked.name)
    if isinstance(asked, LabelRule):
        bounds = asked.common
        wanted = (("lowThreshold", info.low_threshold, bounds.low), ("highThreshold", info.high_threshold, bounds.high))
        return [rule, *wanted]
    labels = info.labels
    known = (None, None) if labels is None else (labels.low_quantile, labels.high_quantile)
    return [rule, ("lowQuantile", known[0], asked.low), ("highQuantile", known[1], asked.high)]
