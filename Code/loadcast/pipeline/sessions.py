"""From the configured files to hourly, daily and feature rows: scan, one shuffle, server kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from loadcast.holiday_calendar import holiday_days
from loadcast.kernels.calendar import CalendarRule, epoch_seconds
from loadcast.kernels.features import Thresholds
from loadcast.kernels.rows import Layout
from loadcast.kernels.scan import RowFilter
from loadcast.pipeline.quality import check_quality, quality_report
from loadcast.progress import Progress
from loadcast.settings import Settings
from loadcast.spark.progress import watched
from loadcast.spark.scan import ScanTask, scan_sessions
from loadcast.spark.server import ServerRows, ServerTask, serve_rows
from loadcast.spark.session import Spark
from loadcast.storage.files import Split, find_files, group_splits, plan_splits

_SPLIT_BYTES = 64 << 20
_SMALLEST_TASK_BYTES = 4 << 20
_BYTES_PER_SHUFFLE_PARTITION = 64 << 20


@contextmanager
def session_rows(
    spark: Spark, settings: Settings, files: list[tuple[str, int]], filter_ip: bool, progress: Progress
) -> Iterator[tuple[ServerRows, dict[str, Any]]]:
    """Scan the files and compute every row; also the quality report.

    Raises QualityError or InputError where the input isn't good enough.
    """
    parallelism = spark.sparkContext.defaultParallelism
    size = sum(size for _, size in files)
    task = ScanTask(_plan(files, size, parallelism), _layout(settings), _row_filter(settings, filter_ip))
    partitions = max(parallelism, min(4 * parallelism, size // _BYTES_PER_SHUFFLE_PARTITION))
    calendar = calendar_rule(settings.train_begin, settings.train_end, settings.holiday_country)
    with serve_rows(scan_sessions(spark, task), partitions, ServerTask(calendar, thresholds(settings))) as rows:
        with watched(spark, progress, f"Scanning {len(files):,} files, {size / 1e6:,.0f} MB"):
            report = quality_report(rows.collect_counts(), dict(files))
        check_quality(report, settings.max_rejected_fraction)
        yield rows, {"filterIp": filter_ip, **report}


def input_files(settings: Settings) -> list[tuple[str, int]]:
    """The configured data files with their sizes in bytes. Raises InputError where there are none."""
    return find_files(settings.data_file)


def calendar_rule(begin: datetime, end: datetime, country: str) -> CalendarRule:
    """The calendar of a training period and the time after it that may be scored."""
    return CalendarRule(begin, holiday_days(country, begin.year, end.year + 1))


def thresholds(settings: Settings) -> Thresholds:
    """The configured class bounds."""
    return Thresholds(settings.low_threshold, settings.high_threshold)


def _plan(files: list[tuple[str, int]], size: int, parallelism: int) -> tuple[tuple[Split, ...], ...]:
    """Splits per task: about two tasks a core on small input, 64 MB a task on large."""
    per_task = min(_SPLIT_BYTES, max(_SMALLEST_TASK_BYTES, -(-size // (2 * parallelism))))
    return tuple(tuple(group) for group in group_splits(plan_splits(files, per_task), per_task * 3 // 4))


def _layout(settings: Settings) -> Layout | None:
    return None if settings.columns is None else Layout(settings.columns)


def _row_filter(settings: Settings, filter_ip: bool) -> RowFilter:
    servers = frozenset(settings.filter_servers) if filter_ip else None
    return RowFilter(epoch_seconds(settings.train_begin), epoch_seconds(settings.train_end), servers)
