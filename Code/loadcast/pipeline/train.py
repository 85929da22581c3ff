"""Training: features in; a model, its scores beside naive forecasts, and the test period's predictions out."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.errors import ConfigError
from loadcast.kernels.decisions import DecisionRule
from loadcast.kernels.evaluation import evaluate
from loadcast.kernels.labels import LabelQuantiles, LabelRule
from loadcast.models.model import INFO_ENTRIES, Model, ModelFamily
from loadcast.models.registry import family_named, load_model
from loadcast.models.saved import read_saved
from loadcast.pipeline.artefacts import versions
from loadcast.pipeline.promotion import last_good, promoted
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

    Raises ArtefactError where ETL has not run, ConfigError where it ran with other dates or thresholds; HeldBackError
    where it was asked for a model that is not worse than the last good one, and it is.
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
        champion = last_good(output, info) if request.unless_worse else None
        with progress("Starting Spark"):
            spark = create_session("loadcast train", options, meanwhile=partial(_import_fitting, family))
        connect(spark, staging)
        task = _scoring(staging, info, _fit(spark, staging, info.feature_columns, settings, progress), decisions)
        with watched(spark, progress, "Scoring train and test"):
            metrics, check = _scored(spark, task)
        result = None
        if champion:
            with watched(spark, progress, "Comparing with the last good model"):
                result = promoted(spark, task, champion)
        metrics.write(staging.folder)
        staging.fetch(name for name in paths.BUNDLE_FOLDERS if name != paths.FOREST_MODEL)  # that is here already
        made = {"model": family.name, **family.record(settings), **check, **_record(decisions)}
        _trained(info, staging.folder, made).write(staging.folder)
    return Published(staging.run, output.shown, metrics=metrics, contest=result)


def _scored(spark: Spark, task: ScoreTask) -> tuple[Metrics, dict[str, object]]:
    """Write the test period's predictions; gives the scores, and what `info` keeps for a service to check itself by."""
    scores = score_features(spark, task)
    evaluated = evaluate(scores.train, scores.test, task.decisions)
    evaluated["test"]["gated"] = gated_scores(spark, task, scores, evaluated)
    return Metrics.of(evaluated), {} if scores.check is None else {"selfCheck": scores.check}


def _trained(info: Info, folder: Path, made: Mapping[str, object]) -> Info:
    """`info` of the run with what training has made, and the checksums of the bundle's files in `folder`."""
    known = {name: value for name, value in info.document().items() if name not in INFO_ENTRIES}
    files = sha256_of_files(folder, [*paths.BUNDLE_FOLDERS, paths.METRICS])
    return Info.of({**known, "versions": versions(), **made, "files": files})


def _import_fitting(family: ModelFamily) -> None:
    """Import what fits: pyspark.ml and, for families of ours, a compiler's run time take a second each."""
    for module in (_FITTING, family.fitting.partition(":")[0]):
        importlib.import_module(module)


def _fit(spark: Spark, staging: Staging, columns: list[str], settings: Settings, progress: Progress) -> Model:
    """Fit the model and save it; returns it as the service will load it."""
    from loadcast.spark import fitting

    family = family_named(settings.model)
    with watched(spark, progress, family.caption(settings)):
        files = staging.carried_tables(paths.FEATURES)
        table = fitting.TrainingTable(spark, staging.address(paths.FEATURES), tuple(columns), settings.split, files)
        # For scoring; by then it can fork the others, as it has imported what they need.
        wake_workers(spark, 1)
        fitted = fitting.fit(family, table, settings)
    fitted.save(staging)
    staging.fetch([paths.FOREST_MODEL])
    return load_model(read_saved(staging.folder, [paths.FOREST_MODEL]), fitted.n_features)


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
