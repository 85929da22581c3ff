"""The scan kernel, carried to the data by Spark: byte ranges of files → packed sums, rejected rows and counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels import scan as scan_kernel
from loadcast.kernels.plain import BadNumbers
from loadcast.kernels.rows import Layout, detect_layout
from loadcast.kernels.scan import Counts, Rejected, RowFilter
from loadcast.storage import files as storage
from loadcast.storage.files import Split

# What a row of the scan's output holds in `payload`.
KIND_BUCKETS, KIND_REJECTED, KIND_COUNTS = 0, 1, 2

#: `place` is what the shuffle goes by: the server, or for the other kinds the file and start of the split.
SCAN_SCHEMA = pa.schema([("place", pa.string()), ("kind", pa.int32()), ("payload", pa.binary())])
SCAN_DDL = "place string, kind int, payload binary"
_REJECTED_PER_VALUE = 2_000
_PARTS_KEPT = 32


@dataclass(frozen=True)
class ScanTask:
    """The function that Spark runs: task number → its splits → scanned rows."""

    tasks: tuple[tuple[Split, ...], ...]
    layout: Layout | None
    keep: RowFilter

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                for split in self.tasks[number]:
                    yield from self._scan(split)

    def _scan(self, split: Split) -> Iterator[pa.RecordBatch]:
        layout = self.layout or detect_layout(*storage.read_head(split.file))
        counts = Counts()
        sums = []
        bad_numbers = BadNumbers()
        for offset, block in storage.read_blocks(split):
            result = scan_kernel.scan_block(block, layout, self.keep, bad_numbers)
            counts.add(result.counts)
            sums.append(result.buckets)
            if len(sums) >= _PARTS_KEPT:  # a compressed file is one split, however large
                sums = [scan_kernel.join(sums)]
            for begin in range(0, len(result.rejected), _REJECTED_PER_VALUE):
                yield _rejected_batch(split, offset, result.rejected[begin : begin + _REJECTED_PER_VALUE])
        names, payloads = bucket_kernel.pack(scan_kernel.join(sums))
        yield pa.RecordBatch.from_arrays(
            [names, pa.array([KIND_BUCKETS] * len(names), pa.int32()), payloads], schema=SCAN_SCHEMA
        )
        yield _one(
            split, KIND_COUNTS, json.dumps({"file": split.path, "start": split.start, **counts.as_dict()}).encode()
        )


def scan_sessions(spark: SparkSession, task: ScanTask) -> DataFrame:
    """Scan the task's splits, one Spark task for each of `task.tasks`."""
    number = len(task.tasks)
    return spark.range(0, number, 1, numPartitions=number).mapInArrow(task, SCAN_DDL)


def _one(split: Split, kind: int, payload: bytes) -> pa.RecordBatch:
    place = f"{split.path}:{split.start}"
    return pa.RecordBatch.from_pydict({"place": [place], "kind": [kind], "payload": [payload]}, schema=SCAN_SCHEMA)


def _rejected_batch(split: Split, offset: int, rows: list[Rejected]) -> pa.RecordBatch:
    table = pa.Table.from_pydict(
        {
            schema.REJECTED_FILE: [split.path] * len(rows),
            schema.REJECTED_OFFSET: [offset + row.offset for row in rows],
            schema.REJECTED_REASON: [row.reason.value for row in rows],
            schema.REJECTED_LINE: [_readable(row.line) for row in rows],
        },
        schema=schema.REJECTED_SCHEMA,
    )
    return _one(split, KIND_REJECTED, to_ipc(table))


def _readable(line: bytes) -> str:
    limit = schema.REJECTED_LINE_CHARS
    return line[: 4 * limit].decode("utf-8", errors="backslashreplace")[:limit]


def to_ipc(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
