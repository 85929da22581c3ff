"""ETL: session logs in; features, encoders, statistics and a quality report out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.pipeline.artefacts import run_info, run_together, write_json, write_monthly
from loadcast.pipeline.sessions import SessionRows, input_files, session_rows
from loadcast.progress import Progress, silent
from loadcast.settings import Settings
from loadcast.spark.encoders import Encoders, encode, fit_encoders
from loadcast.spark.progress import watched
from loadcast.spark.server import ROW_DAY, ROW_HOUR, ROW_REJECTED, rows_of
from loadcast.spark.session import SparkOptions, create_session
from loadcast.storage.publish import output_folder, stage_run


def run_etl(settings: Settings, filter_ip: bool, options: SparkOptions, progress: Progress = silent) -> dict[str, Any]:
    """Run ETL and publish its results in settings.output; returns the quality report.

    With `filter_ip` only the configured servers' sessions are used. Raises a LoadcastError; then nothing was published.
    """
    split = settings.split
    files = input_files(settings)
    with stage_run(output_folder(settings.output)) as staging:
        with progress("Starting Spark"):
            spark = create_session("loadcast etl", options)
        with session_rows(spark, settings, files, filter_ip, progress) as rows:
            hours = rows_of(rows.wide, ROW_HOUR)
            training = hours.filter(F.col(schema.OBSERVED) & (F.col(schema.HOUR) < F.lit(split)))
            with watched(spark, progress, "Fitting encoders and scaler"):
                encoders = fit_encoders(training)
            with watched(spark, progress, "Writing features and statistics"):
                _write(rows, encoders, staging)
        write_json(staging / paths.QUALITY, rows.quality)
        write_json(staging / paths.INFO, run_info(settings, encoders, filter_ip))
    return rows.quality


def _write(rows: SessionRows, encoders: Encoders, staging: Path) -> None:
    hours = rows_of(rows.wide, ROW_HOUR)
    features = encode(hours.select(*schema.FEATURES_SCHEMA.names), encoders)
    run_together(
        [
            partial(features.write.parquet, str(staging / paths.FEATURES)),
            *statistics_jobs(rows, staging),
            partial(rows_of(rows.wide, ROW_REJECTED).coalesce(1).write.parquet, str(staging / paths.REJECTED)),
            partial(encoders.save, staging),
        ]
    )


def statistics_jobs(rows: SessionRows, staging: Path) -> list[partial[None]]:
    """The jobs that write the hourly and daily statistics."""
    hours = rows_of(rows.wide, ROW_HOUR).select(*schema.HOURLY_SCHEMA.names)
    days = rows_of(rows.wide, ROW_DAY)
    return [
        partial(write_monthly, hours, schema.HOUR, staging / paths.HOURLY),
        partial(write_monthly, days, schema.DAY, staging / paths.DAILY),
    ]
