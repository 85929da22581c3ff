"""A run from its request to its result: the one way in to ETL, statistics and training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from loadcast.errors import LoadcastError
from loadcast.logs.events import RUN, log_event
from loadcast.progress import Progress, Stopwatch, silent
from loadcast.run_logger import RunLogger, run_logger
from loadcast.run_request import RunRequest, Step
from loadcast.run_result import Published, RunResult, StepTime
from loadcast.settings import Settings
from loadcast.spark.options import SparkOptions

Work = Callable[[RunRequest, Progress], Published]


def run(request: RunRequest, progress: Progress = silent) -> RunResult:
    """Do what is requested, on Spark, and publish it; returns the result.

    Raises a LoadcastError; then nothing was published.
    """
    begun, begin_s, stopwatch = datetime.now(UTC), time.monotonic(), Stopwatch(progress)
    published = _work(request.step)(request, stopwatch)
    result = RunResult(
        step=request.step,
        request=request.digest,
        run=published.run,
        output=published.output,
        begun=begun,
        duration_s=time.monotonic() - begin_s,
        steps=tuple(StepTime(title=title, duration_s=taken_s) for title, taken_s in stopwatch.laps),
        quality=published.quality,
        metrics=published.metrics,
    )
    _log(result, run_logger())
    return result


def run_etl(
    settings: Settings, filter_ip: bool = False, options: SparkOptions | None = None, progress: Progress = silent
) -> RunResult:
    """Make features, statistics, encoders and a quality report of the configured logs, and publish them.

    With `filter_ip` only the configured servers' sessions are used. `options` say how Spark is started. Raises a
    LoadcastError; then nothing was published.
    """
    spark = options or SparkOptions()
    return run(RunRequest(settings=settings, step="etl", filter_ip=filter_ip, spark=spark), progress)


def run_stats(settings: Settings, options: SparkOptions | None = None, progress: Progress = silent) -> RunResult:
    """Make the hourly and daily statistics of the configured period and publish them beside the months already there.

    The new run keeps everything of the newest one but the months of this period, which are replaced, and the quality
    report. Raises a LoadcastError; then nothing was published.
    """
    return run(RunRequest(settings=settings, step="stats", spark=options or SparkOptions()), progress)


def run_train(settings: Settings, options: SparkOptions | None = None, progress: Progress = silent) -> RunResult:
    """Fit the model on the newest run's features, score it beside naive forecasts, and publish both.

    Raises ArtefactError where ETL has not run, ConfigError where it ran with other dates or thresholds, or another
    LoadcastError; then nothing was published.
    """
    return run(RunRequest(settings=settings, step="train", spark=options or SparkOptions()), progress)


def _log(result: RunResult, logger: RunLogger) -> None:
    """Tell the history what came of a run; one that was published does not fail because that cannot be written."""
    texts = {"request": result.request, "published": result.address}
    if result.metrics:
        texts |= {f"{part}/bestNaive": getattr(result.metrics, part).best_naive or "" for part in ("train", "test")}
        texts |= {"warning": result.metrics.warning} if result.metrics.warning else {}
    try:
        for name, number in result.numbers().items():
            logger.log(name, number)
        for name, text in texts.items():
            logger.log_text(name, text)
    except LoadcastError as error:
        log_event(RUN, logging.WARNING, "run", "The run is not in its history.", run=result.step, error=str(error))


def _work(step: Step) -> Work:
    # Here, not above: pyspark is slow to import, and each step needs its own part of it.
    if step == "etl":
        from loadcast.pipeline.etl import etl

        return etl
    if step == "stats":
        from loadcast.pipeline.stats import stats

        return stats
    from loadcast.pipeline.train import train

    return train
