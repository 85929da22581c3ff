"""The hourly and daily statistics alone, for a month to be scored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from loadcast import paths
from loadcast.pipeline.artefacts import write_json
from loadcast.pipeline.sessions import Reading, input_files, read_sessions
from loadcast.progress import Progress, silent
from loadcast.settings import Settings
from loadcast.spark.failures import spark_failures
from loadcast.spark.session import SparkOptions, create_session
from loadcast.storage.publish import output_folder, stage_run

_MADE_HERE = {paths.QUALITY, paths.REJECTED}


def run_stats(settings: Settings, options: SparkOptions, progress: Progress = silent) -> dict[str, Any]:
    """Compute statistics of the configured period and publish them beside the months already there.

    The new run keeps everything of the newest one but the months of this period, which are replaced, and the quality
    report.
    """
    files = input_files(settings)
    kept = [name for name in paths.ARTEFACTS if name not in _MADE_HERE]
    with stage_run(output_folder(settings), carry=kept) as staging, spark_failures():
        with progress("Starting Spark"):
            spark = create_session("loadcast statistics", options, brief=True)
        fresh = staging / "fresh"
        sessions = read_sessions(spark, settings, Reading(files, fresh), progress)
        (fresh / paths.REJECTED).rename(staging / paths.REJECTED)
        for kind in (paths.HOURLY, paths.DAILY):
            _replace_months(fresh / kind, staging / kind)
        shutil.rmtree(fresh)
        write_json(staging / paths.QUALITY, sessions.quality)
    return sessions.quality


def _replace_months(fresh: Path, target: Path) -> None:
    for month in sorted(fresh.glob("[0-9]*/[0-9]*")):
        place = target / month.relative_to(fresh)
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        month.rename(place)
