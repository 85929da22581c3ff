"""A run from its request to its result: the one way in to ETL, statistics and training; backtests, tuning."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadcast.artefacts.backtest import Backtest
from loadcast.artefacts.tuning import Tuning
from loadcast.errors import HeldBackError, LoadcastError
from loadcast.logs.events import RUN, log_event
from loadcast.progress import Progress, Stopwatch, silent
from loadcast.run_logger import run_logger
from loadcast.run_request import RunRequest, Step
from loadcast.run_result import Published, RunResult, StepTime, step_seconds
from loadcast.settings import Settings
from loadcast.spark.options import SparkOptions
from loadcast.tuning.plan import TuningPlan
from loadcast.tuning.space import SearchSpace

Work = Callable[[RunRequest, Progress], Published]


def run(request: RunRequest, progress: Progress = silent) -> RunResult:
    """Do what is requested, on Spark, and publish it; returns the result.

    Raises a LoadcastError; then nothing was published.
    """
    begun, begin_s, stopwatch = datetime.now(UTC), time.monotonic(), Stopwatch(progress)
    try:
        published = _work(request.step)(request, stopwatch)
    except BaseException as error:
        seconds = step_seconds(_steps(stopwatch), time.monotonic() - begin_s)
        numbers = error.numbers if isinstance(error, HeldBackError) else {}
        _log(request.step, {**numbers, **seconds}, {"request": request.digest})
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
        contest=published.contest,
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


def run_train(
    settings: Settings,
    options: SparkOptions | None = None,
    progress: Progress = silent,
    *,
    unless_worse: bool = False,
) -> RunResult:
    """Fit the model on the newest run's features, score it beside naive forecasts, and publish both.

    With `unless_worse` it is compared with the output's last good model first, if there is one, and HeldBackError
    raised where it loses. Raises ArtefactError where ETL has not run, ConfigError where it ran with other dates or
    thresholds, or another LoadcastError; then nothing was published.
    """
    spark = options or SparkOptions()
    return run(RunRequest(settings=settings, step="train", unless_worse=unless_worse, spark=spark), progress)


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


def run_tuning(
    settings: Settings,
    plan: TuningPlan | None = None,
    space: Mapping[str, Any] | None = None,
    journal: str | os.PathLike[str] | None = None,
    options: SparkOptions | None = None,
    progress: Progress = silent,
) -> Tuning:
    """Try settings of the model, and feature sets, on refits of earlier times, beside the configuration as it stands.

    `space` says by key what to try, a list of values or a range: {"maxDepth": [3, 4], "learningRate": {"low": 0.02,
    "high": 0.2, "log": True}}; without it the usual ranges. What is done is kept in the file `journal`, if one is
    named, and a second call goes on there. Folds, hours and what is refused are those of run_backtest; nothing is
    published. Raises ConfigError also for a space that cannot be, ArtefactError for a journal of something else.
    """
    from loadcast.pipeline.tune import tune

    searched, kept = SearchSpace.of(settings, space), Path(journal) if journal else None
    result = tune(searched, plan or TuningPlan(), kept, options or SparkOptions(), progress)
    texts = {"statistics": result.run, **({"warning": result.warning} if result.warning else {})}
    _log("tune", result.numbers(), texts)
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
