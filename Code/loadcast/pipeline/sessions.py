"""From the configured files to hourly, daily and feature rows: scan, one shuffle, server kernel."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from loadcast import paths, schema
from loadcast.artefacts.quality import Quality
from loadcast.kernels.coverage import Coverage
from loadcast.kernels.training import TrainingSummary, combine
from loadcast.logs.events import RUN, log_event
from loadcast.pipeline.quality import check_quality, quality_report
from loadcast.progress import Progress
from loadcast.rules import Rules
from loadcast.settings import Settings
from loadcast.simulated import simulated_cutoffs
from loadcast.spark.hadoop import find_hadoop_files, scan_lines
from loadcast.spark.progress import watched
from loadcast.spark.scan import result_name, scan_sessions
from loadcast.spark.server_task import (
    REPORT_COUNTS,
    REPORT_COVERAGE,
    REPORT_LABELS,
    REPORT_SKETCH,
    REPORT_TRAINING,
    UNENCODED,
    ServerTask,
    collect_reports,
    files_of,
    serve,
)
from loadcast.spark.session import Spark
from loadcast.storage.files import SourceFile, Split, group_splits, plan_splits, reading_cost
from loadcast.storage.kept import KeptResults
from loadcast.storage.parts import PartWriter
from loadcast.storage.sources import Source
from loadcast.storage.table_files import Tables

#: The tables that are part of the run as they are.
STATISTICS = (paths.HOURLY, paths.DAILY, paths.REJECTED)
_SPLIT_BYTES = 128 << 20
_SMALLEST_TASK_BYTES = 4 << 20
_BYTES_PER_SHUFFLE_PARTITION = 64 << 20


@dataclass(frozen=True)
class Sessions:
    """What is known once all sessions are read: the quality report, what encoders need, and the files written.

    `label_histories` are what labels still to be learned are learned from (LabelHistory.as_json), else there are none;
    `sketches` what simulated cutoffs know of the fleet (Sketch.as_json), of `servers` servers.
    """

    quality: Quality
    training: TrainingSummary
    written: list[str]
    label_histories: list[str] = field(default_factory=list)
    sketches: list[str] = field(default_factory=list)
    servers: int = 0

    @property
    def unencoded(self) -> list[str]:
        """The files of feature rows, as paths below the tables' root."""
        return sorted(name for name in self.written if name.startswith(UNENCODED))

    @property
    def statistics(self) -> list[str]:
        """The files of STATISTICS."""
        return [name for name in self.written if not name.startswith(UNENCODED)]

    @property
    def months(self) -> list[str]:
        """The months of statistics, such as `hourlyfeature/2016/06`."""
        months = (name.rpartition("/")[0] for name in self.written)
        return sorted({month for month in months if month.startswith((paths.HOURLY, paths.DAILY))})


@dataclass(frozen=True)
class Reading:
    """What is read, by which rules, and where the tables go.

    Without a `source` the files are those of a Hadoop file system. Of files that `kept` has results of, only those are
    read.
    """

    files: list[SourceFile]
    source: Source | None
    tables: Tables
    rules: Rules
    kept: KeptResults | None = None


Found = tuple[Source | None, list[SourceFile]]


def found_files(spark: Spark, settings: Settings, matched: tuple[Source, list[SourceFile]] | None) -> Found:
    """What find_sources has found, else what Spark's file systems have."""
    return matched or (None, find_hadoop_files(spark, settings.data_file))


def read_sessions(spark: Spark, settings: Settings, reading: Reading, progress: Progress) -> Sessions:
    """Scan the files; write statistics, rejected rows and feature rows.

    Raises QualityError or InputError where the input isn't good enough.
    """
    parallelism = spark.sparkContext.defaultParallelism
    files, kept, rules = reading.files, reading.kept, reading.rules
    size = sum(file.size for file in files)
    layout, keep = rules.layout, rules.rows
    if reading.source is None:
        kept, names = None, []
        scanned = scan_lines(spark, files, layout, keep)
    else:
        tasks = plan_tasks(files, parallelism)
        scanned = scan_sessions(spark, tasks, layout, keep, kept, reading.source)
        names = [result_name(split, layout, keep) for task in tasks for split in task] if kept else []
    known = kept.names() if kept else set()
    with watched(spark, progress, _scanning(files, size, sum(map(known.__contains__, names)) / max(1, len(names)))):
        served = serve(scanned, shuffle_partitions(size, parallelism), _server_task(reading, settings))
        reports = collect_reports(served)
    if kept:
        kept.prune(names)
    coverage = Coverage.from_json(reports[REPORT_COVERAGE])
    sizes = {file.shown: file.size for file in files}
    quality = quality_report(reports[REPORT_COUNTS], coverage, sizes, settings.contract, keep.servers is not None)
    _log_read(quality)
    check_quality(quality, settings.max_rejected_fraction)
    written = _tidy(reading.tables, files_of(reports))
    training = combine(reports[REPORT_TRAINING], rules.features)
    return Sessions(quality, training, written, reports[REPORT_LABELS], reports[REPORT_SKETCH], len(coverage.servers))


def _log_read(quality: Quality) -> None:
    counts = {"rows": quality.rows, "kept": quality.good, "rejected": quality.rejected, "bytes": quality.bytes}
    log_event(RUN, logging.INFO, "read", "Session logs were read.", files=len(quality.files), **counts)


def _tidy(tables: Tables, written: list[str]) -> list[str]:
    """Remove what failed tasks have left; a run without rejected rows gets a table of none. Gives what is there."""
    tables.keep_only((*STATISTICS, UNENCODED), written)
    if tables.has(paths.REJECTED):
        return written
    with PartWriter(tables, "none") as parts:
        parts.write(paths.REJECTED, schema.REJECTED_SCHEMA.empty_table())
    return [*written, *parts.written]


def _scanning(files: list[SourceFile], size: int, share_kept: float) -> str:
    title = f"Scanning {len(files):,} files, {size / 1e6:,.0f} MB"
    return f"{title} ({share_kept:.0%} kept from before)" if share_kept else title


def plan_tasks(files: list[SourceFile], parallelism: int) -> list[list[Split]]:
    """Splits per task: about two tasks a core on small input, 128 MB a task on large."""
    cost = sum(reading_cost(file.path, file.size) for file in files)
    per_task = min(_SPLIT_BYTES, max(_SMALLEST_TASK_BYTES, -(-cost // (2 * parallelism))))
    return group_splits(plan_splits(files, per_task), per_task)


def shuffle_partitions(size: int, parallelism: int) -> int:
    """Into how many parts servers are shared out, for input of `size` bytes."""
    return max(parallelism, min(4 * parallelism, size // _BYTES_PER_SHUFFLE_PARTITION))


def _server_task(reading: Reading, settings: Settings) -> ServerTask:
    rules = reading.rules
    simulates = rules.split_seconds is not None and rules.features.simulates_cutoffs
    cutoffs = tuple(simulated_cutoffs(settings)) if simulates else ()
    return ServerTask(rules.features, rules.calendar, rules.labels, rules.split_seconds, reading.tables, cutoffs)
