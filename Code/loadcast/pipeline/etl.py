"""ETL: session logs in; features, encoders, statistics and a quality report out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadcast import paths, schema
from loadcast.pipeline.artefacts import run_info, write_json
from loadcast.pipeline.sessions import SessionRows, input_files, session_rows
from loadcast.progress import Progress, silent
from loadcast.settings import Settings
from loadcast.spark.failures import spark_failures
from loadcast.spark.progress import watched
from loadcast.spark.session import SparkOptions, create_session
from loadcast.spark.write import Job, parquet_job, side_by_side, statistics_jobs
from loadcast.storage.kept import KeptResults
from loadcast.storage.publish import output_folder, stage_run

if TYPE_CHECKING:
    from loadcast.spark.encoders import Encoders

_ENCODERS = "loadcast.spark.encoders"  # imports pyspark.ml: loaded while the JVM starts


def run_etl(settings: Settings, filter_ip: bool, options: SparkOptions, progress: Progress = silent) -> dict[str, Any]:
    """Run ETL and publish its results in settings.output; returns the quality report.

    With `filter_ip` only the configured servers' sessions are used. Raises a LoadcastError; then nothing was published.
    """
    _ = settings.split  # ETL needs one: said before anything is started
    files = input_files(settings)
    output = output_folder(settings)
    kept = None if filter_ip or not settings.keeps_scanned else KeptResults(str((output / paths.SCANNED).absolute()))
    with stage_run(output) as staging, spark_failures():
        with progress("Starting Spark"):
            spark = create_session("loadcast etl", options, brief=True, meanwhile=_ENCODERS)
        with (
            session_rows(spark, settings, files, progress, filter_ip, kept) as sessions,
            watched(spark, progress, "Encoding, writing features"),
            side_by_side() as start,
        ):
            encoders = _encode_and_write(sessions, staging, start)
        write_json(staging / paths.QUALITY, sessions.quality)
        write_json(staging / paths.INFO, run_info(settings, encoders, filter_ip))
    return sessions.quality


def _encode_and_write(sessions: SessionRows, staging: Path, start: Callable[[Job], None]) -> Encoders:
    """Make the encoders; write features, encoders, statistics and rejected rows side by side."""
    from loadcast.spark.encoders import encode, make_encoders

    rows = sessions.rows
    for job in (*statistics_jobs(rows, staging), parquet_job(rows.rejected().coalesce(1), staging / paths.REJECTED)):
        start(job)
    features = rows.hours().select(*schema.FEATURES_SCHEMA.names)
    encoders = make_encoders(features, sessions.training)
    start(parquet_job(encode(features, encoders), staging / paths.FEATURES))
    for job in encoders.save_jobs(staging):
        start(job)
    return encoders
