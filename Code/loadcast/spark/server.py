"""The server kernel, carried to each server's sums by Spark: one shuffle, then hourly, daily and feature rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import server as server_kernel
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.coverage import coverage_of
from loadcast.kernels.features import Thresholds, features_table
from loadcast.kernels.training import summarize
from loadcast.spark.scan import KIND_BUCKETS, KIND_COUNTS, KIND_REJECTED
from loadcast.spark.types import to_struct
from loadcast.storage.parts import PartWriter

#: What a row of the result is: a JSON text for the driver. Each task gives a few of each kind.
REPORT_SCHEMA = pa.schema([("kind", pa.string()), ("report", pa.string())])
REPORT_COUNTS, REPORT_COVERAGE, REPORT_TRAINING, REPORT_FILES = "counts", "coverage", "training", "files"
#: Rows before encoding, as Arrow files: what a run needs while it lasts.
UNENCODED = ".unencoded"

#: Packed sums worked on together; the last server of them waits for what else may come of it. So a task holds at most
#: this, or three times the packed sums of its largest server (57 MB for 7.5 years).
_WORK_BYTES = 16 << 20
#: Hours worked on together, of about 600 bytes each (30 years of one server, or a year of 30).
_WORK_SLOTS = 24 * 366 * 30
_ROWS_PER_BATCH = 32_768


@dataclass(frozen=True)
class ServerTask:
    """The function that Spark runs on rows of scan.SCAN_SCHEMA sorted by place: REPORT_SCHEMA rows out.

    The tables themselves are written below `folder`: going through the JVM would cost more than making them. Features
    are made where `split_seconds` is given; the rows before it are the training rows.
    """

    calendar: CalendarRule
    thresholds: Thresholds
    split_seconds: int | None
    folder: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        name = task_name()
        with PartWriter(self.folder, name) as parts, _Unencoded(self.folder, name) as unencoded:
            waiting: list[pa.Table] = []
            size, limit = 0, _WORK_BYTES
            for batch in batches:
                kinds = batch.column("kind")
                yield from _pass_on(batch.filter(pc.not_equal(kinds, KIND_BUCKETS)), parts)
                sums = pa.Table.from_batches([batch.filter(pc.equal(kinds, KIND_BUCKETS))])
                waiting.append(sums)
                size += sums.nbytes
                if size >= limit:
                    done, rest = _cut_last_server(pa.concat_tables(waiting))
                    yield from self._work(done, parts, unencoded)
                    if rest.nbytes >= limit:  # one server, with the same buckets in many pieces of the input
                        rest = _compacted(rest)
                    waiting, size = [rest], rest.nbytes
                    limit = max(_WORK_BYTES, 2 * size)
            if waiting:
                yield from self._work(pa.concat_tables(waiting), parts, unencoded)
        # Only now are the files complete.
        yield report(REPORT_FILES, json.dumps([*parts.written, *unencoded.written]))

    def _work(self, sums: pa.Table, parts: PartWriter, unencoded: _Unencoded) -> Iterator[pa.RecordBatch]:
        if not sums.num_rows:
            return
        places, payloads = (sums.column(name).combine_chunks() for name in ("place", "payload"))
        for portion in server_kernel.portions(bucket_kernel.unpack(places, payloads), _WORK_SLOTS):
            grid = server_kernel.build_grid(portion)
            parts.write_monthly(paths.HOURLY, server_kernel.hourly_table(grid), schema.HOUR)
            parts.write_monthly(paths.DAILY, server_kernel.daily_table(grid), schema.DAY)
            yield report(REPORT_COVERAGE, coverage_of(grid).as_json())
            if self.split_seconds is not None:
                rows = features_table(grid, self.calendar, self.thresholds)
                unencoded.write(rows)
                yield report(REPORT_TRAINING, summarize(rows, self.split_seconds).as_json())


class _Unencoded:
    """One task's file of feature rows, made with the first of them."""

    def __init__(self, folder: str, name: str) -> None:
        self._place = f"{UNENCODED}/part-{name}.arrows"
        self._path = Path(folder, self._place)
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def __enter__(self) -> _Unencoded:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def written(self) -> list[str]:
        return [] if self._writer is None else [self._place]

    def write(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(pa.OSFile(str(self._path), "wb"), rows.schema, options=options)
        self._writer.write_table(rows, max_chunksize=_ROWS_PER_BATCH)


def task_name() -> str:
    """A name for what the running Spark task writes, of its own for each attempt."""
    context = TaskContext.get()
    return "00000-0" if context is None else f"{context.partitionId():05d}-{context.taskAttemptId()}"


def _cut_last_server(sums: pa.Table) -> tuple[pa.Table, pa.Table]:
    places = sums.column("place")
    first = pc.index(places, places[-1]).as_py()
    return sums.slice(0, first), sums.slice(first)


def _compacted(sums: pa.Table) -> pa.Table:
    names, payloads = bucket_kernel.compact(*(sums.column(name).combine_chunks() for name in ("place", "payload")))
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


def collect_reports(frame: DataFrame) -> dict[str, list[str]]:
    """Run the tasks of a frame of REPORT_SCHEMA; their JSON texts by kind (REPORT_…)."""
    reports: dict[str, list[str]] = defaultdict(list)
    for kind, text in frame.collect():
        reports[kind].append(text)
    return reports


def serve(scanned: DataFrame, partitions: int, task: ServerTask) -> DataFrame:
    """The one shuffle: all sums of a server together, then the server kernel."""
    shuffled = scanned.repartition(partitions, F.col("place")).sortWithinPartitions("place")
    return shuffled.mapInArrow(task, to_struct(REPORT_SCHEMA))
