"""The scan kernel, carried to the data by Spark: byte ranges of files → packed sums, rejected rows and counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession

import loadcast
from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.rows import Layout, detect_layout
from loadcast.kernels.scan import Rejected, RowFilter, Scanner
from loadcast.spark.numbered import each_number, numbers_in
from loadcast.storage.blocks import read_blocks, read_head
from loadcast.storage.files import Split, pack_splits, unpack_splits
from loadcast.storage.kept import KeptResults
from loadcast.storage.sources import LOCAL, Source

#: To be raised with every change of what the scan of a split gives: results kept by older versions are not used then.
_RESULT_VERSION = 3

# What a row of the scan's output holds in `payload`.
KIND_BUCKETS, KIND_REJECTED, KIND_COUNTS = 0, 1, 2

#: What the shuffle goes by: the server, or for the other kinds the file and start of the split.
PARTITION_KEY = "partition_key"
SCAN_SCHEMA = pa.schema([(PARTITION_KEY, pa.string()), ("kind", pa.int32()), ("payload", pa.binary())])
SCAN_DDL = f"{PARTITION_KEY} string, kind int, payload binary"
_REJECTED_PER_VALUE = 2_000


@dataclass(frozen=True)
class ScanTask:
    """The function that Spark runs: task number → its splits → scanned rows.

    `plan` is sent once to each machine, however many tasks run there; a task reads only its own entry.
    """

    plan: Broadcast[tuple[str, ...]]
    layout: Layout | None
    keep: RowFilter
    kept: KeptResults | None = None
    source: Source = LOCAL

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in numbers_in(batches):
            for split in unpack_splits(self.plan.value[number]):
                yield from self._scan(split) if self.kept is None else self._kept_or_scanned(split, self.kept)

    def _kept_or_scanned(self, split: Split, kept: KeptResults) -> Iterator[pa.RecordBatch]:
        name = result_name(split, self.layout, self.keep)
        batches = kept.load(name)
        if batches is not None:
            yield from batches
            return
        with kept.save(name, SCAN_SCHEMA) as write:
            for batch in self._scan(split):
                write(batch)
                yield batch

    def _scan(self, split: Split) -> Iterator[pa.RecordBatch]:
        layout = self.layout or detect_layout(*read_head(split.file, self.source))
        yield from scan_blocks(split, read_blocks(split, source=self.source), layout, self.keep)


def scan_blocks(
    split: Split, blocks: Iterable[tuple[int | None, bytes | bytearray]], layout: Layout, keep: RowFilter
) -> Iterator[pa.RecordBatch]:
    """Scan the blocks of whole lines that a split consists of, each with its offset in the file (None: not known)."""
    scanner = Scanner(layout, keep)
    for offset, block in blocks:
        rejected = scanner.scan(block)
        for begin in range(0, len(rejected), _REJECTED_PER_VALUE):
            yield _rejected_batch(split, offset, rejected[begin : begin + _REJECTED_PER_VALUE])
    names, payloads = bucket_kernel.pack(scanner.buckets())
    yield pa.RecordBatch.from_arrays(
        [names, pa.array([KIND_BUCKETS] * len(names), pa.int32()), payloads], schema=SCAN_SCHEMA
    )
    report = {"file": split.file.shown, "start": split.start, **scanner.counts().as_dict()}
    yield _row(split, KIND_COUNTS, json.dumps(report).encode())


def result_name(split: Split, layout: Layout | None, keep: RowFilter) -> str:
    """The name of a split's result among KeptResults: a digest of all that it depends on."""
    servers = None if keep.servers is None else sorted(keep.servers)
    columns = None if layout is None else layout.columns
    parts = [loadcast.__version__, _RESULT_VERSION, columns, {**asdict(keep), "servers": servers}, asdict(split)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def scan_sessions(
    spark: SparkSession,
    tasks: Sequence[Sequence[Split]],
    layout: Layout | None,
    keep: RowFilter,
    kept: KeptResults | None = None,
    source: Source = LOCAL,
) -> DataFrame:
    """Scan the splits of each of `tasks` in a Spark task of its own, as `layout` (None: as each file's head says).

    What `kept` has of them is not scanned again; what it has not is added to it.
    """
    plan = spark.sparkContext.broadcast(tuple(map(pack_splits, tasks)))
    return each_number(spark, len(tasks), ScanTask(plan, layout, keep, kept, source), SCAN_DDL)


def _row(split: Split, kind: int, payload: bytes) -> pa.RecordBatch:
    key = f"{split.file.shown}:{split.start}"
    return pa.RecordBatch.from_pydict({PARTITION_KEY: [key], "kind": [kind], "payload": [payload]}, schema=SCAN_SCHEMA)


def _rejected_batch(split: Split, offset: int | None, rows: list[Rejected]) -> pa.RecordBatch:
    table = pa.Table.from_pydict(
        {
            schema.REJECTED_FILE: [split.file.shown] * len(rows),
            schema.REJECTED_OFFSET: [None if offset is None else offset + row.offset for row in rows],
            schema.REJECTED_REASON: [row.reason.value for row in rows],
            schema.REJECTED_LINE: [_readable(row.line) for row in rows],
        },
        schema=schema.REJECTED_SCHEMA,
    )
    return _row(split, KIND_REJECTED, to_ipc(table))


def _readable(line: bytes) -> str:
    limit = schema.REJECTED_LINE_CHARS
    return line[: 4 * limit].decode("utf-8", errors="backslashreplace")[:limit]


def to_ipc(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
