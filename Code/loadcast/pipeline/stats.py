"""The hourly and daily statistics alone, for a month to be scored."""

from __future__ import annotations

from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.errors import ConfigError
from loadcast.pipeline.sessions import Reading, found_files, read_sessions
from loadcast.progress import Progress, logged_run
from loadcast.rules import Rules
from loadcast.run_request import RunRequest
from loadcast.run_result import Published
from loadcast.settings import Settings
from loadcast.spark.azure import connect
from loadcast.spark.failures import spark_failures
from loadcast.spark.session import create_session
from loadcast.storage.output import open_output
from loadcast.storage.sources import find_sources

_MADE_HERE = {paths.QUALITY, paths.REJECTED}


@logged_run("stats")
def stats(request: RunRequest, progress: Progress) -> Published:
    """Compute statistics of the configured period and publish them beside the months already there.

    The new run keeps everything of the newest one but the months of this period, which are replaced, and the quality
    report. Raises ConfigError where that run's times are of another zone.
    """
    settings, options = request.settings, request.spark
    rules = Rules.of(settings)
    matched = find_sources(settings, options.extra)
    kept = [name for name in paths.ARTEFACTS if name not in _MADE_HERE]
    output = open_output(settings)
    with output.stage(carry=kept) as staging, spark_failures(output.shown):
        staging.fetch([paths.INFO])
        if (staging.folder / paths.INFO).exists():
            _check_clock(Info.read(staging.folder), settings)
        with progress("Starting Spark"):
            spark = create_session("loadcast statistics", options, brief=True, meanwhile=lambda: rules.calendar)
        connect(spark, staging)
        source, files = found_files(spark, settings, matched)
        reading = Reading(files, source, staging.fresh_tables, rules)
        sessions = read_sessions(spark, settings, reading, progress)
        staging.replace([paths.REJECTED, *sessions.months])
        sessions.quality.write(staging.folder)
    return Published(staging.run, output.shown, quality=sessions.quality)


def _check_clock(info: Info, settings: Settings) -> None:
    """Times are kept without their zone: months of two clocks side by side would give lags that are hours off."""
    if info.timezone != settings.timezone:
        raise ConfigError(
            f"timezone: found {settings.timezone!r}, wanted {info.timezone!r} as in the run that the output "
            "holds. Change it, or name another output."
        )
