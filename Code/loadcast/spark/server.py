"""The server kernel, carried to each server's sums by Spark: one shuffle, then hourly, daily and feature rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import server as server_kernel
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.coverage import coverage_of
from loadcast.kernels.features import Thresholds, features_table
from loadcast.kernels.training import summarize
from loadcast.spark.scan import KIND_BUCKETS, KIND_COUNTS, KIND_REJECTED
from loadcast.spark.types import to_struct

# What a row of the wide result is.
ROW_HOUR, ROW_DAY, ROW_REJECTED = "hour", "day", "rejected"
# What a row is that holds nothing but a JSON text for the driver, a few of each partition: ServerRows.collect_reports.
REPORT_COUNTS, REPORT_COVERAGE, REPORT_TRAINING = "counts", "coverage", "training"
_KIND = "kind"
_REPORT = "report"

_HOUR_SCHEMA = pa.schema(
    [*schema.FEATURES_SCHEMA, *(schema.HOURLY_SCHEMA.field(name) for name in schema.PEAKS if name != schema.PEAK_LOAD)]
)
_SCHEMAS = {ROW_HOUR: _HOUR_SCHEMA, ROW_DAY: schema.DAILY_SCHEMA, ROW_REJECTED: schema.REJECTED_SCHEMA}
_FIELDS = {field.name: field for part in _SCHEMAS.values() for field in part}
WIDE_SCHEMA = pa.schema([pa.field(_KIND, pa.string()), *_FIELDS.values(), pa.field(_REPORT, pa.string())])

#: Packed sums worked on together; the last server of them waits for what else may come of it. So a task holds at most
#: this, or three times the packed sums of its largest server (57 MB for 7.5 years).
_WORK_BYTES = 16 << 20
#: Hours worked on together, of about 600 bytes each (30 years of one server, or a year of 30).
_WORK_SLOTS = 24 * 366 * 30
_ROWS_PER_BATCH = 32_768


@dataclass(frozen=True)
class ServerTask:
    """The function that Spark runs on rows of scan.SCAN_SCHEMA sorted by place: WIDE_SCHEMA rows out.

    The rows before `split_seconds` (None: none) are the training rows.
    """

    calendar: CalendarRule
    thresholds: Thresholds
    split_seconds: int | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.Table] = []
        size, limit = 0, _WORK_BYTES
        for batch in batches:
            kinds = batch.column("kind")
            yield from _pass_on(batch.filter(pc.not_equal(kinds, KIND_BUCKETS)))
            sums = pa.Table.from_batches([batch.filter(pc.equal(kinds, KIND_BUCKETS))])
            waiting.append(sums)
            size += sums.nbytes
            if size >= limit:
                done, rest = _cut_last_server(pa.concat_tables(waiting))
                yield from self._work(done)
                if rest.nbytes >= limit:  # one server, with the same buckets in many pieces of the input
                    rest = _compacted(rest)
                waiting, size = [rest], rest.nbytes
                limit = max(_WORK_BYTES, 2 * size)
        if waiting:
            yield from self._work(pa.concat_tables(waiting))

    def _work(self, sums: pa.Table) -> Iterator[pa.RecordBatch]:
        if not sums.num_rows:
            return
        places, payloads = (sums.column(name).combine_chunks() for name in ("place", "payload"))
        for portion in server_kernel.portions(bucket_kernel.unpack(places, payloads), _WORK_SLOTS):
            yield from self._rows(server_kernel.build_grid(portion))

    def _rows(self, grid: server_kernel.Grid) -> Iterator[pa.RecordBatch]:
        hourly = server_kernel.hourly_table(grid)
        rows = features_table(grid, self.calendar, self.thresholds)
        if self.split_seconds is not None:
            yield from _report(REPORT_TRAINING, summarize(rows, self.split_seconds).as_json())
        for name in _HOUR_SCHEMA.names[rows.num_columns :]:
            rows = rows.append_column(_HOUR_SCHEMA.field(name), hourly.column(name))
        yield from _widen(rows, ROW_HOUR)
        yield from _widen(server_kernel.daily_table(grid), ROW_DAY)
        yield from _report(REPORT_COVERAGE, coverage_of(grid).as_json())


def _cut_last_server(sums: pa.Table) -> tuple[pa.Table, pa.Table]:
    places = sums.column("place")
    first = pc.index(places, places[-1]).as_py()
    return sums.slice(0, first), sums.slice(first)


def _compacted(sums: pa.Table) -> pa.Table:
    names, payloads = bucket_kernel.compact(*(sums.column(name).combine_chunks() for name in ("place", "payload")))
    kinds = pa.array([KIND_BUCKETS] * len(names), pa.int32())
    return pa.Table.from_arrays([names, kinds, payloads], schema=sums.schema)


def _pass_on(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Rejected rows and counts need no server: they only travel along."""
    for kind, payload in zip(batch.column("kind").to_pylist(), batch.column("payload").to_pylist(), strict=True):
        if kind == KIND_REJECTED:
            yield from _widen(pa.ipc.open_stream(payload).read_all(), ROW_REJECTED)
        elif kind == KIND_COUNTS:
            yield from _report(REPORT_COUNTS, payload.decode())


def _report(kind: str, text: str) -> Iterator[pa.RecordBatch]:
    return _widen(pa.table({_REPORT: [text]}), kind)


def _widen(table: pa.Table, kind: str) -> Iterator[pa.RecordBatch]:
    """The table as WIDE_SCHEMA batches: columns it lacks are null."""
    number = table.num_rows
    columns = [
        table.column(field.name) if field.name in table.column_names else pa.nulls(number, field.type)
        for field in WIDE_SCHEMA
    ]
    columns[0] = pa.repeat(kind, number)
    yield from pa.Table.from_arrays(columns, schema=WIDE_SCHEMA).combine_chunks().to_batches(_ROWS_PER_BATCH)


@dataclass(frozen=True)
class ServerRows:
    """Every row of a run in one frame that is computed once, at the first action on it."""

    _wide: DataFrame

    def hours(self) -> DataFrame:
        """Server × hour: feature columns and the other peaks."""
        return self._rows_of(ROW_HOUR)

    def days(self) -> DataFrame:
        """Server × day: the daily means."""
        return self._rows_of(ROW_DAY)

    def rejected(self) -> DataFrame:
        """Rows of the input that could not be placed."""
        return self._rows_of(ROW_REJECTED)

    def collect_reports(self) -> dict[str, list[str]]:
        """What the tasks report, as JSON texts by kind (REPORT_…): one Spark job for all kinds."""
        reports: dict[str, list[str]] = defaultdict(list)
        for kind, text in self._wide.filter(F.col(_REPORT).isNotNull()).select(_KIND, _REPORT).collect():
            reports[kind].append(text)
        return reports

    def _rows_of(self, kind: str) -> DataFrame:
        return self._wide.filter(F.col(_KIND) == kind).select(*_SCHEMAS[kind].names)


@contextmanager
def serve_rows(scanned: DataFrame, partitions: int, task: ServerTask) -> Iterator[ServerRows]:
    """The one shuffle: all sums of a server together, then the server kernel.

    The result is kept while the block runs.
    """
    shuffled = scanned.repartition(partitions, F.col("place")).sortWithinPartitions("place")
    wide = shuffled.mapInArrow(task, to_struct(WIDE_SCHEMA)).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield ServerRows(wide)
    finally:
        wide.unpersist()
