"""ETL: session logs in; features, encoders, statistics and a quality report out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

from loadcast import paths
from loadcast.kernels.encode import Encoders, encoders_of
from loadcast.pipeline.artefacts import run_info
from loadcast.pipeline.sessions import STATISTICS, Reading, Sessions, found_files, read_sessions
from loadcast.progress import Progress, logged_run
from loadcast.rules import Rules
from loadcast.run_request import RunRequest
from loadcast.run_result import Published
from loadcast.spark.azure import connect
from loadcast.spark.encoding import encode_features
from loadcast.spark.failures import spark_failures
from loadcast.spark.progress import watched
from loadcast.spark.server_task import UNENCODED, collect_reports, files_of
from loadcast.spark.session import Spark, create_session
from loadcast.spark.side_by_side import Job, side_by_side
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
        encoders = encoders_of(rules.features, sessions.training)
        with watched(spark, progress, "Encoding features"), side_by_side() as start:
            _encode_and_save(spark, sessions, encoders, staging, start)
        # Once more: an attempt of a task that Spark has given up may have ended since.
        staging.tables.keep_only(STATISTICS, sessions.statistics)
        sessions.quality.write(staging.folder)
        run_info(settings, encoders, filter_ip).write(staging.folder)
    return Published(staging.run, output.shown, quality=sessions.quality)


def _prepare(rules: Rules) -> None:
    """What takes a second and can be done while the JVM starts."""
    importlib.import_module("loadcast.spark.encoders")  # with pyspark.ml
    _ = rules.calendar


def _encode_and_save(
    spark: Spark, sessions: Sessions, encoders: Encoders, staging: Staging, start: Callable[[Job], None]
) -> None:
    """Encode the feature rows; save the encoders' models meanwhile."""
    from loadcast.spark.encoders import encoded_struct, encoder_models

    def encode() -> None:
        tables = staging.tables
        frame = encode_features(spark, sessions.unencoded, tables, encoders, encoded_struct(encoders).json())
        tables.keep_only([paths.FEATURES, UNENCODED], files_of(collect_reports(frame)))

    start(encode)
    for job in encoder_models(spark, encoders, sessions.training).save_jobs(staging.address):
        start(job)
