"""The hourly and daily statistics alone, for a month to be scored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from loadcast import paths
from loadcast.pipeline.artefacts import write_json
from loadcast.pipeline.sessions import Reading, found_files, read_sessions
from loadcast.progress import Progress, silent
from loadcast.settings import Settings
from loadcast.spark.failures import spark_failures
from loadcast.spark.session import SparkOptions, create_session
from loadcast.storage.output import open_output
from loadcast.storage.sources import find_sources
from loadcast.storage.staging import Staging
from loadcast.storage.tables import FolderTables

_MADE_HERE = {paths.QUALITY, paths.REJECTED}


def run_stats(settings: Settings, options: SparkOptions, progress: Progress = silent) -> dict[str, Any]:
    """Compute statistics of the configured period and publish them beside the months already there.

    The new run keeps everything of the newest one but the months of this period, which are replaced, and the quality
    report.
    """
    found = find_sources(settings)
    kept = [name for name in paths.ARTEFACTS if name not in _MADE_HERE]
    with open_output(settings).stage(carry=kept) as staging, spark_failures():
        with progress("Starting Spark"):
            spark = create_session("loadcast statistics", options, brief=True)
        fresh = staging.folder / ".fresh"
        source, files = found_files(spark, settings, found)
        reading = Reading(files, source, FolderTables(str(fresh.absolute())))
        sessions = read_sessions(spark, settings, reading, progress)
        (fresh / paths.REJECTED).rename(staging.folder / paths.REJECTED)
        for kind in (paths.HOURLY, paths.DAILY):
            _replace_months(fresh, kind, staging)
        shutil.rmtree(fresh)
        write_json(staging.folder / paths.QUALITY, sessions.quality)
    return sessions.quality


def _replace_months(fresh: Path, kind: str, staging: Staging) -> None:
    for folder in sorted((fresh / kind).glob("[0-9]*/[0-9]*")):
        month = folder.relative_to(fresh).as_posix()
        staging.drop(month)
        (staging.folder / month).parent.mkdir(parents=True, exist_ok=True)
        folder.rename(staging.folder / month)
