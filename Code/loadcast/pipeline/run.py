"""A run from its request to its result: the one way in to ETL, statistics and training; and backtests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from loadcast.artefacts.backtest import Backtest
from loadcast.errors import LoadcastError
from loadcast.logs.events import RUN, log_event
from loadcast.progress import Progress, Stopwatch, silent
from loadcast.run_logger import run_logger
from loadcast.run_request import RunRequest, Step
from loadcast.run_result import Published, RunResult, StepTime, step_seconds
from loadcast.settings import Settings
from loadcast.spark.options import SparkOptions

Work = Callable[[RunRequest, Progress], Published]


def run(request: RunRequest, progress: Progress = silent) -> RunResult:
    """Do what is requested, on Spark, and publish it; returns the result.

    Raises a LoadcastError; then nothing was published.
    """
    begun, begin_s, stopwatch = datetime.now(UTC), time.monotonic(), Stopwatch(progress)
    try:
        published = _work(request.step)(request, stopwatch)
    except BaseException:
        _log(request.step, step_seconds(_steps(stopwatch), time.monotonic() - begin_s), {"request": request.digest})
        raise
    result = RunResult(
        step=request.step,
        request=request.digest,
        run=published.run,
        output=published.output,
        begun=begun,
        duration_s=time.monotonic() - begin_s,
        steps=_steps(stopwatch),
        quality=published.quality,
        metrics=published.metrics,
    )
    _log(request.step, result.numbers(), _texts(result))
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


def run_backtest(
    settings: Settings,
    folds: int = 4,
    step_days: int = 7,
    options: SparkOptions | None = None,
    progress: Progress = silent,
) -> Backtest:
    """Refit the configured model `folds` times, at ends of what is known `step_days` apart, and score what came next.

    The last fold ends at testSplitStart; nothing from there on is looked at, and nothing is published. Hours come from
    the newest run's hourly statistics; its feature set, model and label rule need not be the configured ones. Raises
    ConfigError for a set or family that cannot be backtested, and for folds that do not fit into the training period;
    ArtefactError where ETL has not run.
    """
    from loadcast.pipeline.backtest import backtest

    result = backtest(settings, (folds, step_days), options or SparkOptions(), progress)
    texts = {"statistics": result.run, **({"warning": result.warning} if result.warning else {})}
    _log("backtest", result.numbers(), texts)
    return result


def _steps(stopwatch: Stopwatch) -> tuple[StepTime, ...]:
    return tuple(StepTime(title=title, duration_s=taken_s) for title, taken_s in stopwatch.laps)


def _texts(result: RunResult) -> dict[str, str]:
    """What the history is told beside the numbers."""
    texts = {"request": result.request, "published": result.address}
    if result.metrics:
        best = {"train/bestNaive": result.metrics.train.best_naive, "test/bestNaive": result.metrics.test.best_naive}
        texts |= {name: text for name, text in {**best, "warning": result.metrics.warning}.items() if text}
    return texts


def _log(step: str, numbers: dict[str, float], texts: dict[str, str]) -> None:
    """Tell the history of a run; one that was published does not fail because that cannot be written."""
    logger = run_logger()
    try:
        for name, number in numbers.items():
            logger.log(name, number)
        for name, text in texts.items():
            logger.log_text(name, text)
    except LoadcastError as error:
        log_event(RUN, logging.WARNING, "run", "The run is not in its history.", run=step, error=str(error))


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
