"""ETL: session logs in; features, encoders, statistics and a quality report out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadcast import paths
from loadcast.kernels.encode import Encoders, encoders_of
from loadcast.pipeline.artefacts import run_info, write_json
from loadcast.pipeline.sessions import Reading, Sessions, input_files, read_sessions
from loadcast.progress import Progress, silent
from loadcast.settings import Settings
from loadcast.spark.encoding import encode_features
from loadcast.spark.failures import spark_failures
from loadcast.spark.progress import watched
from loadcast.spark.server import UNENCODED, collect_reports, files_of
from loadcast.spark.session import Spark, SparkOptions, create_session
from loadcast.spark.write import Job, side_by_side
from loadcast.storage.kept import KeptResults
from loadcast.storage.parts import remove_others
from loadcast.storage.publish import output_folder, stage_run

_ENCODERS = "loadcast.spark.encoders"  # imports pyspark.ml: loaded while the JVM starts


def run_etl(settings: Settings, filter_ip: bool, options: SparkOptions, progress: Progress = silent) -> dict[str, Any]:
    """Run ETL and publish its results in settings.output; returns the quality report.

    With `filter_ip` only the configured servers' sessions are used. Raises a LoadcastError; then nothing was published.
    """
    split = settings.split
    files = input_files(settings)
    output = output_folder(settings)
    kept = None if filter_ip or not settings.keeps_scanned else KeptResults(str((output / paths.SCANNED).absolute()))
    with stage_run(output) as staging, spark_failures():
        with progress("Starting Spark"):
            spark = create_session("loadcast etl", options, brief=True, meanwhile=_ENCODERS)
        reading = Reading(files, staging, filter_ip, split, kept)
        sessions = read_sessions(spark, settings, reading, progress)
        encoders = encoders_of(sessions.training)
        with watched(spark, progress, "Encoding features"), side_by_side() as start:
            _encode_and_save(spark, sessions, encoders, staging, start)
        write_json(staging / paths.QUALITY, sessions.quality)
        write_json(staging / paths.INFO, run_info(settings, encoders, filter_ip))
    return sessions.quality


def _encode_and_save(
    spark: Spark, sessions: Sessions, encoders: Encoders, staging: Path, start: Callable[[Job], None]
) -> None:
    """Encode the feature rows; save the encoders' models meanwhile."""
    from loadcast.spark.encoders import encoded_struct, encoder_models

    def encode() -> None:
        frame = encode_features(
            spark, sessions.unencoded, staging.absolute(), encoders, encoded_struct(encoders).json()
        )
        remove_others(staging, [paths.FEATURES], files_of(collect_reports(frame)))
        shutil.rmtree(staging / UNENCODED)

    start(encode)
    for job in encoder_models(spark, encoders, sessions.training).save_jobs(staging):
        start(job)
