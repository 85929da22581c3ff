"""What backtests and tuning refit: which folds, the hours that are known, what is said of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadcast import paths, schema
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, ConfigError, InputError
from loadcast.kernels.backtest.folds import SHORTEST_STEP_DAYS, Fold, folds_before
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.tally import FoldTally
from loadcast.kernels.calendar import epoch_seconds
from loadcast.models.registry import check_rows
from loadcast.progress import Progress
from loadcast.refit import Refit
from loadcast.rules import Rules
from loadcast.settings import Settings
from loadcast.storage.months import Months
from loadcast.storage.output import open_output
from loadcast.storage.publish import open_run
from loadcast.storage.table_files import is_hidden

_COLUMNS = [schema.SERVER, schema.HOUR, schema.PEAK_LOAD, schema.OBSERVED]


@dataclass(frozen=True)
class KnownHours:
    """The observed hours of the training period, the run that has them, and how messages call its output."""

    loads: Loads
    run: str
    output: str


def known_hours(settings: Settings, progress: Progress) -> KnownHours:
    """The hours of the newest run. Raises ArtefactError where there are none, ConfigError where they are of others."""
    output = open_output(settings)
    run = open_run(output.at_hand({paths.CURRENT: [paths.INFO]}))
    _check_same(Info.read(run), settings)
    with progress("Reading hourly statistics"):
        return KnownHours(_loads(output.months(run), settings, run.name), run.name, output.shown)


def refits_of(settings: Settings, folds: int, step_days: int) -> list[Refit]:
    """The refits of all folds. Raises ConfigError where they cannot be made, or no model be fitted in one process."""
    check_rows(settings)
    if not Rules.of(settings).features.simulates_cutoffs:
        raise ConfigError(
            f"featureSet: found {settings.feature_set!r}, wanted direct, extended, or another set that simulates "
            "cutoffs: bounds and features are learned anew for each fold."
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


def check_hours(folds: Sequence[Fold], loads: Loads) -> None:
    """Raise InputError where there is a fold without an hour to learn from or to score it by, before any is fitted."""
    hours = np.sort(loads.hours)
    for fold in folds:
        first, end = np.searchsorted(hours, (fold.split_hour, fold.end_hour))
        if not first:
            raise InputError(
                f"Found no observed hour before {fold.split}, wanted some to fit a model on. "
                "Ask for fewer folds or a shorter step."
            )
        if first == end:
            raise _nothing_to_score(fold)


def check_scored(folds: Sequence[Fold], tallies: Sequence[FoldTally]) -> None:
    """Raise InputError where there is a fold without an hour to score it by."""
    empty = [fold for fold, tally in zip(folds, tallies, strict=True) if not tally.servers]
    if empty:
        raise _nothing_to_score(empty[0])


def _nothing_to_score(fold: Fold) -> InputError:
    return InputError(
        f"Found no observed hour from {fold.split} to {fold.end}, wanted some to score the fold by. "
        "Ask for other folds."
    )


def about(settings: Settings, run: str, step_days: int) -> dict[str, object]:
    """What is said of what was refitted, on which run's hours."""
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
