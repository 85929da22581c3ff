"""From the configured files to hourly, daily and feature rows: scan, one shuffle, server kernel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from loadcast import paths, schema
from loadcast.holiday_calendar import holiday_days
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.contract import Contract
from loadcast.kernels.coverage import Coverage
from loadcast.kernels.features import Thresholds
from loadcast.kernels.rows import Layout
from loadcast.kernels.scan import RowFilter
from loadcast.kernels.training import TrainingSummary, combine
from loadcast.pipeline.quality import check_quality, quality_report
from loadcast.progress import Progress
from loadcast.settings import Settings
from loadcast.spark.progress import watched
from loadcast.spark.scan import result_name, scan_sessions
from loadcast.spark.server import (
    REPORT_COUNTS,
    REPORT_COVERAGE,
    REPORT_TRAINING,
    UNENCODED,
    ServerTask,
    collect_reports,
    files_of,
    serve,
)
from loadcast.spark.session import Spark
from loadcast.storage.files import SourceFile, Split, find_files, group_splits, plan_splits, reading_cost
from loadcast.storage.kept import KeptResults
from loadcast.storage.parts import PartWriter, remove_others

_SPLIT_BYTES = 64 << 20
_SMALLEST_TASK_BYTES = 4 << 20
_BYTES_PER_SHUFFLE_PARTITION = 64 << 20


@dataclass(frozen=True)
class Sessions:
    """What is known once all sessions are read: the quality report, and what encoders need.

    `unencoded` are the files of feature rows, as paths below the folder that was given.
    """

    quality: dict[str, Any]
    training: TrainingSummary
    unencoded: list[str]


@dataclass(frozen=True)
class Reading:
    """What is read, and where the tables go: below `folder`.

    With a `split`, feature rows are made; those before it are the training rows. Of files that `kept` has results of,
    only those are read.
    """

    files: list[SourceFile]
    folder: Path
    filter_ip: bool = False
    split: datetime | None = None
    kept: KeptResults | None = None


def read_sessions(spark: Spark, settings: Settings, reading: Reading, progress: Progress) -> Sessions:
    """Scan the files; write statistics, rejected rows and feature rows.

    Raises QualityError or InputError where the input isn't good enough.
    """
    parallelism = spark.sparkContext.defaultParallelism
    files, folder, kept = reading.files, reading.folder, reading.kept
    size = sum(file.size for file in files)
    tasks, layout, keep = plan_tasks(files, parallelism), _layout(settings), _row_filter(settings, reading.filter_ip)
    scanned = scan_sessions(spark, tasks, layout, keep, kept)
    names = [result_name(split, layout, keep) for task in tasks for split in task] if kept else []
    with watched(spark, progress, _scanning(files, size, sum(map(kept.has, names)) / len(names) if kept else 0)):
        served = serve(scanned, shuffle_partitions(size, parallelism), _server_task(settings, reading))
        reports = collect_reports(served)
    if kept:
        kept.prune(names)
    coverage = Coverage.from_json(reports[REPORT_COVERAGE])
    quality = quality_report(reports[REPORT_COUNTS], coverage, {file.shown: file.size for file in files})
    check_quality(quality, settings.max_rejected_fraction)
    written = files_of(reports)
    _tidy(folder, written)
    unencoded = sorted(name for name in written if name.startswith(UNENCODED))
    quality = {"filterIp": reading.filter_ip, "contract": _contract(settings), **quality}
    return Sessions(quality, combine(reports[REPORT_TRAINING]), unencoded)


def _tidy(folder: Path, written: list[str]) -> None:
    """Remove what failed tasks have left; a run without rejected rows has a table of none."""
    remove_others(folder, (paths.HOURLY, paths.DAILY, paths.REJECTED, UNENCODED), written)
    if not (folder / paths.REJECTED).is_dir():
        with PartWriter(folder, "none") as parts:
            parts.write(paths.REJECTED, schema.REJECTED_SCHEMA.empty_table())


def input_files(settings: Settings) -> list[SourceFile]:
    """The configured data files as they are now. Raises InputError where there are none."""
    return find_files(settings.data_file)


def _scanning(files: list[SourceFile], size: int, share_kept: float) -> str:
    title = f"Scanning {len(files):,} files, {size / 1e6:,.0f} MB"
    return f"{title} ({share_kept:.0%} kept from before)" if share_kept else title


def calendar_rule(begin: datetime, end: datetime, country: str) -> CalendarRule:
    """The calendar of a training period and the time after it that may be scored."""
    return CalendarRule(begin, holiday_days(country, begin.year, end.year + 1))


def thresholds(settings: Settings) -> Thresholds:
    """The configured class bounds."""
    return Thresholds(settings.low_threshold, settings.high_threshold)


def plan_tasks(files: list[SourceFile], parallelism: int) -> list[list[Split]]:
    """Splits per task: about two tasks a core on small input, 64 MB a task on large."""
    cost = sum(reading_cost(file.path, file.size) for file in files)
    per_task = min(_SPLIT_BYTES, max(_SMALLEST_TASK_BYTES, -(-cost // (2 * parallelism))))
    return group_splits(plan_splits(files, per_task), per_task)


def shuffle_partitions(size: int, parallelism: int) -> int:
    """Into how many parts servers are shared out, for input of `size` bytes."""
    return max(parallelism, min(4 * parallelism, size // _BYTES_PER_SHUFFLE_PARTITION))


def _server_task(settings: Settings, reading: Reading) -> ServerTask:
    calendar = calendar_rule(settings.train_begin, settings.train_end, settings.holiday_country)
    split = None if reading.split is None else epoch_seconds(reading.split)
    return ServerTask(calendar, thresholds(settings), split, str(reading.folder.absolute()))


def _layout(settings: Settings) -> Layout | None:
    return None if settings.columns is None else Layout(settings.columns)


def _contract(settings: Settings) -> dict[str, Any]:
    """The data contract as the configuration has it."""
    return {name: one.model_dump(by_alias=True, exclude_none=True) for name, one in settings.contract.items()}


def _row_filter(settings: Settings, filter_ip: bool) -> RowFilter:
    servers = frozenset(settings.filter_servers) if filter_ip else None
    ranges = {name: (one.min, one.max, one.on_breach == "reject") for name, one in settings.contract.items()}
    contract = Contract.of(ranges) if ranges else None
    return RowFilter(epoch_seconds(settings.train_begin), epoch_seconds(settings.train_end), servers, contract)
