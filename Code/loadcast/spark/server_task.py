"""The server kernel, carried to each server's sums by Spark: one shuffle, then hourly, daily and feature rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import grid as grid_kernel
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.coverage import coverage_of
from loadcast.kernels.features import FeatureSet, training_table
from loadcast.kernels.grid import Grid
from loadcast.kernels.label_history import history_of
from loadcast.kernels.labels import LabelQuantiles, LabelRule
from loadcast.kernels.simulation.sketch import Sketch
from loadcast.kernels.training import summarize
from loadcast.spark.portable import send_by_value
from loadcast.spark.scan import KIND_BUCKETS, KIND_COUNTS, KIND_REJECTED, PARTITION_KEY, SCAN_SCHEMA
from loadcast.spark.types import to_struct
from loadcast.storage.parts import PartWriter
from loadcast.storage.table_files import Tables

#: What a row of the result is: a JSON text for the driver. Each task gives a few of each kind.
REPORT_SCHEMA = pa.schema([("kind", pa.string()), ("report", pa.string())])
REPORT_COUNTS, REPORT_COVERAGE, REPORT_TRAINING, REPORT_FILES = "counts", "coverage", "training", "files"
REPORT_LABELS, REPORT_SKETCH = "labels", "sketch"
#: The table of feature rows before encoding: a run needs it while it lasts.
UNENCODED = ".unencoded"

#: Packed sums worked on together; the last server of them waits for what else may come of it. So a task holds at most
#: this, or three times the packed sums of its largest server (57 MB for 7.5 years).
_WORK_BYTES = 16 << 20


@dataclass(frozen=True)
class ServerTask:
    """The function that Spark runs on rows of scan.SCAN_SCHEMA sorted by partition key: REPORT_SCHEMA rows out.

    The tables themselves are written to `tables`: going through the JVM would cost more than making them. Features
    are made where `split_seconds` is given; the rows before it are the training rows. Where labels are still to be
    learned, the rows have none yet. For a set that simulates `cutoffs` (hours since 1970) the fleet's bounds at each
    have to be known first: then only loads are kept, and a sketch of them.
    """

    features: FeatureSet
    calendar: CalendarRule
    labels: LabelRule | LabelQuantiles
    split_seconds: int | None
    tables: Tables
    cutoffs: tuple[int, ...] = ()

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with PartWriter(self.tables, task_name()) as parts:
            servers = WholeServers()
            for batch in batches:
                kinds = batch.column("kind")
                yield from _pass_on(batch.filter(pc.not_equal(kinds, KIND_BUCKETS)), parts)
                yield from self._work(servers.add(batch.filter(pc.equal(kinds, KIND_BUCKETS))), parts)
            yield from self._work(servers.rest(), parts)
        # Only now are the files complete.
        yield report_files(parts)

    def _work(self, sums: pa.Table, parts: PartWriter) -> Iterator[pa.RecordBatch]:
        if not sums.num_rows:
            return
        servers, payloads = (sums.column(name).combine_chunks() for name in (PARTITION_KEY, "payload"))
        for portion in grid_kernel.portions(bucket_kernel.unpack(servers, payloads), grid_kernel.WORK_SLOTS):
            grid = grid_kernel.build_grid(portion)
            parts.write_monthly(paths.HOURLY, grid_kernel.hourly_table(grid), schema.HOUR)
            parts.write_monthly(paths.DAILY, grid_kernel.daily_table(grid), schema.DAY)
            yield report(REPORT_COVERAGE, coverage_of(grid).as_json())
            if self.split_seconds is not None:
                yield self._rows(grid, self.split_seconds, parts)
                if isinstance(self.labels, LabelQuantiles):
                    yield report(REPORT_LABELS, history_of(grid, self.labels).as_json())

    def _rows(self, grid: Grid, split_seconds: int, parts: PartWriter) -> pa.RecordBatch:
        """Write feature rows, or what they are made of later; gives what is reported of them."""
        if self.features.simulates_cutoffs:
            parts.write(UNENCODED, grid_kernel.loads_table(grid))
            return report(REPORT_SKETCH, Sketch.of(grid, self.cutoffs).as_json())
        rule = self.labels if isinstance(self.labels, LabelRule) else None
        rows = training_table(self.features, grid, self.calendar, rule)
        parts.write(UNENCODED, rows)
        return report(REPORT_TRAINING, summarize(rows, self.features, split_seconds).as_json())


class WholeServers:
    """Packed sums as they come, sorted by server: they leave again, some megabytes at a time, by whole servers."""

    def __init__(self) -> None:
        self._waiting: list[pa.Table] = []
        self._size, self._limit = 0, _WORK_BYTES

    def add(self, sums: pa.RecordBatch) -> pa.Table:
        """Take a batch of scan.SCAN_SCHEMA; gives those servers of which nothing more can come, often none."""
        self._waiting.append(pa.Table.from_batches([sums]))
        self._size += sums.nbytes
        if self._size < self._limit:
            return sums.schema.empty_table()
        done, rest = _cut_last_server(pa.concat_tables(self._waiting))
        if rest.nbytes >= self._limit:  # one server, with the same buckets in many pieces of the input
            rest = _compacted(rest)
        self._waiting, self._size = [rest], rest.nbytes
        self._limit = max(_WORK_BYTES, 2 * self._size)
        return done

    def rest(self) -> pa.Table:
        """The servers that are left at the end."""
        return pa.concat_tables(self._waiting or [SCAN_SCHEMA.empty_table()])


def task_name() -> str:
    """A name for what the running Spark task writes, of its own for each attempt."""
    context = TaskContext.get()
    return "00000-0" if context is None else f"{context.partitionId():05d}-{context.taskAttemptId()}"


def _cut_last_server(sums: pa.Table) -> tuple[pa.Table, pa.Table]:
    servers = sums.column(PARTITION_KEY)
    first = pc.index(servers, servers[-1]).as_py()
    return sums.slice(0, first), sums.slice(first)


def _compacted(sums: pa.Table) -> pa.Table:
    names, payloads = bucket_kernel.compact(
        *(sums.column(name).combine_chunks() for name in (PARTITION_KEY, "payload"))
    )
    kinds = pa.array([KIND_BUCKETS] * len(names), pa.int32())
    return pa.Table.from_arrays([names, kinds, payloads], schema=sums.schema)


def _pass_on(batch: pa.RecordBatch, parts: PartWriter) -> Iterator[pa.RecordBatch]:
    """Rejected rows and counts need no server: they have only travelled along."""
    for kind, payload in zip(batch.column("kind").to_pylist(), batch.column("payload").to_pylist(), strict=True):
        if kind == KIND_REJECTED:
            parts.write(paths.REJECTED, pa.ipc.open_stream(payload).read_all())
        elif kind == KIND_COUNTS:
            yield report(REPORT_COUNTS, payload.decode())


def report(kind: str, text: str) -> pa.RecordBatch:
    """One row of REPORT_SCHEMA."""
    return pa.RecordBatch.from_arrays([pa.array([kind]), pa.array([text])], schema=REPORT_SCHEMA)


def report_files(parts: PartWriter) -> pa.RecordBatch:
    """The row that tells which files a task has written, for files_of; to be given when they are complete."""
    return report(REPORT_FILES, json.dumps(parts.written))


def files_of(reports: Mapping[str, list[str]]) -> list[str]:
    """The files that the tasks behind some reports have written, as paths below their tables' root."""
    return [name for text in reports[REPORT_FILES] for name in json.loads(text)]


def collect_reports(frame: DataFrame) -> dict[str, list[str]]:
    """Run the tasks of a frame of REPORT_SCHEMA; their JSON texts by kind (REPORT_…)."""
    reports: dict[str, list[str]] = defaultdict(list)
    for kind, text in frame.collect():
        reports[kind].append(text)
    return reports


def serve(scanned: DataFrame, partitions: int, task: ServerTask) -> DataFrame:
    """The one shuffle: all sums of a server together, then the server kernel."""
    send_by_value(task.features)
    shuffled = scanned.repartition(partitions, F.col(PARTITION_KEY)).sortWithinPartitions(PARTITION_KEY)
    return shuffled.mapInArrow(task, to_struct(REPORT_SCHEMA))
