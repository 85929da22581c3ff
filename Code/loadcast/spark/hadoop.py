"""Session logs in file systems that only Spark knows, such as HDFS: found by Hadoop, read as lines by Spark.

The scan kernel is fed with the lines of each piece of a file; all but the offsets of rejected rows, which are not
known then, comes out as from a local file.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, cast

import pyarrow as pa
from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast.errors import InputError
from loadcast.kernels.rows import LAYOUT_HEAD_BYTES, Layout, detect_layout
from loadcast.kernels.scan import RowFilter
from loadcast.spark.scan import SCAN_DDL, scan_blocks
from loadcast.storage.blocks import BLOCK_BYTES
from loadcast.storage.files import SourceFile, Split

#: Lines, or packed sums in the stage behind, that are handed to Python at once; and their bytes, where Spark counts
#: them (since 4.1).
BATCH = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 << 20),
}
_HEADS_AT_ONCE = 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_hadoop_files(spark: SparkSession, pattern: str) -> list[SourceFile]:
    """Files that match a path or glob pattern of a Hadoop file system, sorted by path; their version is their time.

    Raises InputError where there are none or the file system cannot be reached.
    """
    jvm = cast(Any, spark.sparkContext._jvm)
    try:
        path = jvm.org.apache.hadoop.fs.Path(pattern)
        statuses = path.getFileSystem(_configuration(spark)).globStatus(path)
    except Py4JJavaError as error:
        reason = str(error.java_exception.getMessage()).splitlines()[0]
        raise InputError(
            f"Cannot look for dataFile in {pattern}: {reason}. "
            "Check the address, and that Spark knows this file system."
        ) from error
    files = [status for status in statuses or () if status.isFile()]
    if not files:
        raise InputError(f"dataFile {pattern} matches no file. Check the path.")
    described = (
        SourceFile(status.getPath().toString(), status.getLen(), str(status.getModificationTime())) for status in files
    )
    return sorted(described, key=lambda file: file.path)


def scan_lines(spark: SparkSession, files: list[SourceFile], layout: Layout | None, keep: RowFilter) -> DataFrame:
    """Scan files of a Hadoop file system, as `layout` (None: as each file's head says); rows as scan_sessions gives."""
    for key, value in BATCH.items():
        spark.conf.set(key, value)
    with ThreadPoolExecutor(_HEADS_AT_ONCE) as pool:
        layouts = list(pool.map(partial(_layout_of, spark), files)) if layout is None else [layout] * len(files)
    hadoop_path = cast(Any, spark.sparkContext._jvm).org.apache.hadoop.fs.Path
    names = [hadoop_path(file.path).toUri().toString() for file in files]  # as Spark tells them
    known = {name: (file, file_layout) for name, file, file_layout in zip(names, files, layouts, strict=True)}
    # A path that Spark reads is a pattern; these are names.
    lines = spark.read.text([_escaped(file.path) for file in files]).select(
        F.col("value").cast("binary").alias("line"),
        F.col("_metadata.file_path").alias("path"),
        F.col("_metadata.file_block_start").alias("start"),
    )
    return lines.mapInArrow(LineTask(spark.sparkContext.broadcast(known), keep), SCAN_DDL)


@dataclass(frozen=True)
class LineTask:
    """The function that Spark runs: lines, with the path and start of their piece of a file → scanned rows."""

    files: Broadcast[dict[str, tuple[SourceFile, Layout]]]
    keep: RowFilter

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rest = chain.from_iterable(map(_pieces, batches))
        piece = next(rest, None)
        while piece is not None:
            path, start, _ = piece
            following = _Following(piece, rest)
            file, layout = self.files.value[path]
            yield from scan_blocks(Split(file, start, file.size), following.blocks(), layout, self.keep)
            piece = following.next


Piece = tuple[str, int, list[bytes]]


class _Following:
    """The lines of one piece of a file as blocks; `next` is what follows them."""

    def __init__(self, first: Piece, rest: Iterator[Piece]) -> None:
        self.next: Piece | None = first
        self._rest = rest

    def blocks(self) -> Iterator[tuple[None, bytes]]:
        piece = self.next[:2] if self.next else None
        waiting: list[bytes] = []
        size = 0
        while self.next is not None and self.next[:2] == piece:
            waiting += self.next[2]
            size += sum(map(len, self.next[2]))
            self.next = next(self._rest, None)
            if size >= BLOCK_BYTES:
                yield None, _joined(waiting)
                waiting, size = [], 0
        if waiting:
            yield None, _joined(waiting)


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join([*lines, b""])


def _pieces(batch: pa.RecordBatch) -> Iterator[Piece]:
    """The runs of lines of one piece of a file each."""
    lines, paths, starts = (column.to_pylist() for column in batch.columns)
    begin = 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or (paths[end], starts[end]) != (paths[begin], starts[begin]):
            yield paths[begin], starts[begin], lines[begin:end]
            begin = end


def _layout_of(spark: SparkSession, file: SourceFile) -> Layout:
    """The layout that a file's head has. Raises InputError where it cannot be read."""
    jvm = cast(Any, spark.sparkContext._jvm)
    configuration = _configuration(spark)
    path = jvm.org.apache.hadoop.fs.Path(file.path)
    try:
        stream = path.getFileSystem(configuration).open(path)
        try:
            codec = jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(configuration).getCodec(path)
            unpacked = stream if codec is None else codec.createInputStream(stream)
            head = bytes(unpacked.readNBytes(LAYOUT_HEAD_BYTES + 1))
        finally:
            stream.close()
    except Py4JJavaError as error:
        reason = str(error.java_exception.getMessage()).splitlines()[0]
        raise InputError(
            f"Cannot read {file.shown}: {reason}. Replace the file, or leave it out of dataFile."
        ) from error
    complete = len(head) <= LAYOUT_HEAD_BYTES
    return detect_layout(head[:LAYOUT_HEAD_BYTES].removeprefix(_BYTE_ORDER_MARK), complete)


def _configuration(spark: SparkSession) -> JavaObject:
    return cast(Any, spark.sparkContext._jsc).hadoopConfiguration()


def _escaped(path: str) -> str:
    """A name as a pattern that stands for just that name."""
    return "".join(f"\\{sign}" if sign in "\\*?[]{}" else sign for sign in path)
