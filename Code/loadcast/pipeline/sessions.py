"""From the configured files to hourly, daily and feature rows: scan, one shuffle, server kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
from loadcast.spark.server import REPORT_COUNTS, REPORT_COVERAGE, REPORT_TRAINING, ServerRows, ServerTask, serve_rows
from loadcast.spark.session import Spark
from loadcast.storage.files import SourceFile, Split, find_files, group_splits, plan_splits, reading_cost
from loadcast.storage.kept import KeptResults

_SPLIT_BYTES = 64 << 20
_SMALLEST_TASK_BYTES = 4 << 20
_BYTES_PER_SHUFFLE_PARTITION = 64 << 20


@dataclass(frozen=True)
class SessionRows:
    """Every row of a run, and what is known once they are computed: the quality report, what encoders need."""

    rows: ServerRows
    quality: dict[str, Any]
    training: TrainingSummary


@contextmanager
def session_rows(
    spark: Spark,
    settings: Settings,
    files: list[SourceFile],
    progress: Progress,
    filter_ip: bool = False,
    kept: KeptResults | None = None,
) -> Iterator[SessionRows]:
    """Scan the files and compute every row; of files that `kept` has results of, only those are read.

    Raises QualityError or InputError where the input isn't good enough.
    """
    parallelism = spark.sparkContext.defaultParallelism
    size = sum(file.size for file in files)
    tasks, layout, keep = _plan(files, parallelism), _layout(settings), _row_filter(settings, filter_ip)
    scanned = scan_sessions(spark, tasks, layout, keep, kept)
    partitions = max(parallelism, min(4 * parallelism, size // _BYTES_PER_SHUFFLE_PARTITION))
    with serve_rows(scanned, partitions, _server_task(settings)) as rows:
        names = [result_name(split, layout, keep) for task in tasks for split in task] if kept else []
        with watched(spark, progress, _scanning(files, size, sum(map(kept.has, names)) / len(names) if kept else 0)):
            reports = rows.collect_reports()
        if kept:
            kept.prune(names)
        coverage = Coverage.from_json(reports[REPORT_COVERAGE])
        report = quality_report(reports[REPORT_COUNTS], coverage, {file.shown: file.size for file in files})
        check_quality(report, settings.max_rejected_fraction)
        quality = {"filterIp": filter_ip, "contract": _contract(settings), **report}
        yield SessionRows(rows, quality, combine(reports[REPORT_TRAINING]))


def _scanning(files: list[SourceFile], size: int, share_kept: float) -> str:
    title = f"Scanning {len(files):,} files, {size / 1e6:,.0f} MB"
    return f"{title} ({share_kept:.0%} kept from before)" if share_kept else title


def input_files(settings: Settings) -> list[SourceFile]:
    """The configured data files as they are now. Raises InputError where there are none."""
    return find_files(settings.data_file)


def calendar_rule(begin: datetime, end: datetime, country: str) -> CalendarRule:
    """The calendar of a training period and the time after it that may be scored."""
    return CalendarRule(begin, holiday_days(country, begin.year, end.year + 1))


def thresholds(settings: Settings) -> Thresholds:
    """The configured class bounds."""
    return Thresholds(settings.low_threshold, settings.high_threshold)


def _plan(files: list[SourceFile], parallelism: int) -> list[list[Split]]:
    """Splits per task: about two tasks a core on small input, 64 MB a task on large."""
    cost = sum(reading_cost(file.path, file.size) for file in files)
    per_task = min(_SPLIT_BYTES, max(_SMALLEST_TASK_BYTES, -(-cost // (2 * parallelism))))
    return group_splits(plan_splits(files, per_task), per_task)


def _server_task(settings: Settings) -> ServerTask:
    calendar = calendar_rule(settings.train_begin, settings.train_end, settings.holiday_country)
    split = settings.test_split_start
    return ServerTask(calendar, thresholds(settings), None if split is None else epoch_seconds(split))


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
