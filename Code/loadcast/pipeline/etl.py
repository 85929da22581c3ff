"""ETL: session logs in; features, encoders, statistics and a quality report out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from loadcast import paths
from loadcast.artefacts.labels import Labels
from loadcast.kernels.encode import Encoders, encoders_of
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.simulation.sketch import Sketch
from loadcast.pipeline.artefacts import run_info
from loadcast.pipeline.sessions import STATISTICS, Reading, Sessions, found_files, read_sessions
from loadcast.progress import Progress, logged_run
from loadcast.rules import Rules
from loadcast.run_request import RunRequest
from loadcast.run_result import Published
from loadcast.settings import Settings
from loadcast.simulated import simulated_cutoffs, simulation_of
from loadcast.spark.azure import connect
from loadcast.spark.encoding import EncodeTask, encode_features
from loadcast.spark.failures import spark_failures
from loadcast.spark.label_bounds import learn_rule
from loadcast.spark.progress import watched
from loadcast.spark.server_task import UNENCODED, collect_reports, files_of
from loadcast.spark.session import Spark, create_session
from loadcast.spark.side_by_side import Job, side_by_side
from loadcast.spark.simulating import simulate
from loadcast.storage.output import open_output
from loadcast.storage.sources import find_sources
from loadcast.storage.staging import Staging


@logged_run("etl")
def etl(request: RunRequest, progress: Progress) -> Published:
    """Run ETL and publish its results in the configured output.

    With `filter_ip` only the configured servers' sessions are used. Raises a LoadcastError; then nothing was published.
    """
    settings, filter_ip, options = request.settings, request.filter_ip, request.spark
    rules = Rules.of(settings, filter_ip, settings.split)
    matched = find_sources(settings, options.extra)
    output = open_output(settings)
    kept = None if filter_ip or not settings.keeps_scanned else output.kept_results()
    with output.stage() as staging, spark_failures(output.shown):
        with progress("Starting Spark"):
            spark = create_session("loadcast etl", options, brief=True, meanwhile=partial(_prepare, rules))
        connect(spark, staging)
        source, files = found_files(spark, settings, matched)
        reading = Reading(files, source, staging.tables, rules, kept)
        sessions = read_sessions(spark, settings, reading, progress)
        staging.finished(STATISTICS)
        rule = _label_rule(spark, rules, sessions, staging, progress)
        if rules.features.simulates_cutoffs:
            with watched(spark, progress, "Simulating cutoffs"):
                sessions = _simulated(spark, settings, rules, sessions, staging, rule)
        encoders = encoders_of(rules.features, sessions.training)
        with watched(spark, progress, "Encoding features"), side_by_side() as start:
            is_labelled = rules.features.simulates_cutoffs or rule is rules.labels
            task = _encode_task(sessions, encoders, staging, None if is_labelled else rule)
            _encode_and_save(spark, sessions, task, staging, start)
        # Once more: an attempt of a task that Spark has given up may have ended since.
        staging.tables.keep_only(STATISTICS, sessions.statistics)
        sessions.quality.write(staging.folder)
        run_info(settings, encoders, Labels.of(rule, rules.labels), filter_ip).write(staging.folder)
    return Published(staging.run, output.shown, quality=sessions.quality)


def _prepare(rules: Rules) -> None:
    """What takes a second and can be done while the JVM starts."""
    importlib.import_module("loadcast.spark.encoders")  # with pyspark.ml
    _ = rules.calendar


def _label_rule(spark: Spark, rules: Rules, sessions: Sessions, staging: Staging, progress: Progress) -> LabelRule:
    """The configured rule, or the one that the hours before the test period teach."""
    if isinstance(rules.labels, LabelRule):
        return rules.labels
    with watched(spark, progress, "Learning what is low and high"):
        return learn_rule(spark, rules.labels, sessions.label_histories, sessions.unencoded, staging.tables)


def _simulated(
    spark: Spark, settings: Settings, rules: Rules, sessions: Sessions, staging: Staging, rule: LabelRule
) -> Sessions:
    """The sessions with feature rows instead of loads: those of simulated cutoffs, and the test period's."""
    sketch = Sketch.joined(sessions.sketches, simulated_cutoffs(settings))
    simulation = simulation_of(settings, rules, rule, sketch, sessions.servers)
    files, training = simulate(spark, simulation, sessions.unencoded, staging.tables)
    return replace(sessions, written=[*sessions.statistics, *files], training=training)


def _encode_task(sessions: Sessions, encoders: Encoders, staging: Staging, rule: LabelRule | None) -> EncodeTask:
    """What encodes the feature rows; with a rule they have no labels yet."""
    from loadcast.spark.encoders import encoded_struct

    spark_schema = encoded_struct(encoders).json()
    return EncodeTask(tuple(sessions.unencoded), staging.tables, encoders, spark_schema, rule)


def _encode_and_save(
    spark: Spark, sessions: Sessions, task: EncodeTask, staging: Staging, start: Callable[[Job], None]
) -> None:
    """Encode the feature rows; save the encoders' models meanwhile."""
    from loadcast.spark.encoders import encoder_models

    def encode() -> None:
        frame = encode_features(spark, task)
        task.tables.keep_only([paths.FEATURES, UNENCODED], files_of(collect_reports(frame)))

    start(encode)
    for job in encoder_models(spark, task.encoders, sessions.training).save_jobs(staging.address):
        start(job)
