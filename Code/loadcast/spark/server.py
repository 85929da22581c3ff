"""The server kernel, carried to each server's sums by Spark: one shuffle, then hourly, daily and feature rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import server as server_kernel
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.features import Thresholds, features_table
from loadcast.spark.scan import KIND_BUCKETS, KIND_COUNTS, KIND_REJECTED
from loadcast.spark.types import to_struct

# What a row of the wide result is.
ROW_HOUR, ROW_DAY, ROW_REJECTED, ROW_COUNTS = "hour", "day", "rejected", "counts"
_KIND = "kind"
_COUNTS = "counts"

_HOUR_SCHEMA = pa.schema(
    [*schema.FEATURES_SCHEMA, *(schema.HOURLY_SCHEMA.field(name) for name in schema.PEAKS if name != schema.PEAK_LOAD)]
)
_SCHEMAS = {ROW_HOUR: _HOUR_SCHEMA, ROW_DAY: schema.DAILY_SCHEMA, ROW_REJECTED: schema.REJECTED_SCHEMA}
_FIELDS = {field.name: field for part in _SCHEMAS.values() for field in part}
WIDE_SCHEMA = pa.schema([pa.field(_KIND, pa.string()), *_FIELDS.values(), pa.field(_COUNTS, pa.string())])

#: Packed sums worked on together; the last server of them waits for what else may come of it.
_WORK_BYTES = 16 << 20
#: Hours worked on together, of about 600 bytes each (30 years of one server, or a year of 30).
_WORK_SLOTS = 24 * 366 * 30
_ROWS_PER_BATCH = 32_768


@dataclass(frozen=True)
class ServerTask:
    """The function that Spark runs on rows of scan.SCAN_SCHEMA sorted by place: WIDE_SCHEMA rows out."""

    calendar: CalendarRule
    thresholds: Thresholds

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.Table] = []
        size = 0
        for batch in batches:
            kinds = batch.column("kind")
            yield from _pass_on(batch.filter(pc.not_equal(kinds, KIND_BUCKETS)))
            sums = pa.Table.from_batches([batch.filter(pc.equal(kinds, KIND_BUCKETS))])
            waiting.append(sums)
            size += sums.nbytes
            if size >= _WORK_BYTES:
                done, rest = _cut_last_server(pa.concat_tables(waiting))
                yield from self._work(done)
                waiting, size = [rest], rest.nbytes
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
        for name in _HOUR_SCHEMA.names[rows.num_columns :]:
            rows = rows.append_column(_HOUR_SCHEMA.field(name), hourly.column(name))
        yield from _widen(rows, ROW_HOUR)
        yield from _widen(server_kernel.daily_table(grid), ROW_DAY)


def _cut_last_server(sums: pa.Table) -> tuple[pa.Table, pa.Table]:
    places = sums.column("place")
    first = pc.index(places, places[-1]).as_py()
    return sums.slice(0, first), sums.slice(first)


def _pass_on(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Rejected rows and counts need no server: they only travel along."""
    for kind, payload in zip(batch.column("kind").to_pylist(), batch.column("payload").to_pylist(), strict=True):
        if kind == KIND_REJECTED:
            yield from _widen(pa.ipc.open_stream(payload).read_all(), ROW_REJECTED)
        elif kind == KIND_COUNTS:
            yield from _widen(pa.table({_COUNTS: [payload.decode()]}), ROW_COUNTS)


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

    def training(self, split: datetime) -> DataFrame:
        """The observed hours before `split`."""
        return self.hours().filter(F.col(schema.OBSERVED) & (F.col(schema.HOUR) < F.lit(split)))

    def collect_counts(self) -> list[str]:
        """The counts of each split, as JSON."""
        return [row[0] for row in self._wide.filter(F.col(_KIND) == ROW_COUNTS).select(_COUNTS).collect()]

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
