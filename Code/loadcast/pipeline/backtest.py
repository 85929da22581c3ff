"""Backtests: the model refitted as of earlier times, each scored on the days after; nothing is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loadcast import paths, schema
from loadcast.artefacts.backtest import Backtest
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, ConfigError, InputError
from loadcast.kernels.backtest.folds import SHORTEST_STEP_DAYS, folds_before
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.summary import summary
from loadcast.kernels.backtest.tally import FoldTally
from loadcast.kernels.calendar import epoch_seconds
from loadcast.models.registry import family_named, fit_rows_of
from loadcast.progress import Progress, logged_run
from loadcast.refit import Refit
from loadcast.rules import Rules
from loadcast.settings import Settings
from loadcast.spark.backtesting import score_refits
from loadcast.spark.failures import spark_failures
from loadcast.spark.options import SparkOptions
from loadcast.spark.progress import watched
from loadcast.spark.session import create_session
from loadcast.storage.months import Months
from loadcast.storage.output import open_output
from loadcast.storage.publish import open_run
from loadcast.storage.table_files import is_hidden

_COLUMNS = [schema.SERVER, schema.HOUR, schema.PEAK_LOAD, schema.OBSERVED]


@logged_run("backtest")
def backtest(settings: Settings, plan: tuple[int, int], options: SparkOptions, progress: Progress) -> Backtest:
    """Score refits; `plan` is how many folds of how many days there are. See pipeline.run.run_backtest."""
    folds, step_days = plan
    fit_rows = fit_rows_of(family_named(settings.model))
    refits = _refits(settings, folds, step_days)
    output = open_output(settings)
    run = open_run(output.at_hand({paths.CURRENT: [paths.INFO]}))
    _check_same(Info.read(run), settings)
    with progress("Reading hourly statistics"):
        loads = _loads(output.months(run), settings, run.name)
    with spark_failures(output.shown):
        with progress("Starting Spark"):
            spark = create_session("loadcast backtest", options, brief=True)
        with watched(spark, progress, f"Fitting and scoring {folds} folds"):
            tallies = score_refits(spark, refits, loads, fit_rows)
    _check_rows(refits, tallies)
    numbers = summary([refit.fold for refit in refits], tallies)
    return Backtest.of({**_about(settings, run.name, step_days), **numbers})


def _refits(settings: Settings, folds: int, step_days: int) -> list[Refit]:
    """The refits of all folds. Raises ConfigError where they cannot be made."""
    if not Rules.of(settings).features.simulates_cutoffs:
        raise ConfigError(
            f"featureSet: found {settings.feature_set!r}, wanted direct, extended, or another set that simulates "
            "cutoffs: a backtest learns bounds and features anew for each fold."
        )
    if folds < 1 or step_days < SHORTEST_STEP_DAYS:
        raise ConfigError(
            f"Found {folds} folds of {step_days} days, wanted 1 or more of at least {SHORTEST_STEP_DAYS} days, "
            f"as forecasts go {schema.HORIZON_HOURS} hours ahead."
        )
    most = min(folds, (settings.split - settings.train_begin).days // step_days)
    plan = folds_before(settings.split, most, step_days) if most else []
    refits = [Refit.of(settings, fold) for fold in plan]
    possible = sum(1 for refit in refits if refit.cutoffs)
    if possible < folds:
        raise ConfigError(
            f"{folds} folds of {step_days} days: found time for {possible} between trainBegin, {settings.train_begin}, "
            f"and testSplitStart, {settings.split}, which leave enough to learn from before the first. "
            "Ask for fewer folds, or a shorter step."
        )
    return refits


def _check_same(info: Info, settings: Settings) -> None:
    """The statistics have to be of the configured hours; set, model and label rule may be others than the run's."""
    for key, actual, wanted in (
        ("trainBegin", info.train_begin, settings.train_begin),
        ("timezone", info.timezone, settings.timezone),
    ):
        if actual != wanted:
            raise ConfigError(
                f"{key}: ETL ran with {actual}, the configuration says {wanted}. Run python Code/etl.py CONFIG again."
            )
    if info.train_end < settings.split:
        raise ConfigError(
            f"testSplitStart: found {settings.split}, but ETL's hours end at {info.train_end}. "
            "Run python Code/etl.py CONFIG again."
        )


def _loads(months: Months, settings: Settings, run: str) -> Loads:
    """The observed hours of the training period. Raises ArtefactError where the run has none that can be read."""
    names = [name for name in months.names(paths.HOURLY) if name <= f"{settings.split:%Y/%m}"]
    begin, end = (epoch_seconds(time) // 3_600 for time in (settings.train_begin, settings.split))
    loads = Loads.of(_tables([months.folder(paths.HOURLY, name) for name in names]), begin, end)
    if not len(loads):
        raise ArtefactError(
            f"The run {run} has no {paths.HOURLY} with an observed hour before testSplitStart. "
            "Run python Code/etl.py CONFIG first."
        )
    return loads


def _tables(folders: Sequence[Path]) -> Iterator[pa.Table]:
    for file in sorted(file for folder in folders for file in folder.glob("*.parquet")):
        if is_hidden(file.name):
            continue
        try:
            with pq.ParquetFile(file) as source:
                yield source.read(_COLUMNS)
        except (pa.ArrowException, OSError) as error:
            raise ArtefactError(
                f"{file} cannot be read: {str(error)[:200]}. Run python Code/etl.py CONFIG again."
            ) from error


def _check_rows(refits: Sequence[Refit], tallies: Sequence[FoldTally]) -> None:
    empty = [refit.fold for refit, tally in zip(refits, tallies, strict=True) if not tally.servers]
    if empty:
        raise InputError(
            f"Found no observed hour from {empty[0].split} to {empty[0].end}, wanted some to score the fold by. "
            "Ask for other folds."
        )


def _about(settings: Settings, run: str, step_days: int) -> dict[str, object]:
    return {
        "run": run,
        "featureSet": settings.feature_set,
        "model": settings.model,
        "labelRule": settings.label_rule,
        "originEveryHours": settings.origin_every_hours,
        "stepDays": step_days,
        "trainBegin": settings.train_begin.isoformat(" "),
        "testSplitStart": settings.split.isoformat(" "),
    }
