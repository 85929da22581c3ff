"""How Spark cuts a table of Parquet files into partitions: which rows each of its tasks reads, and in which order."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from loadcast import schema
from loadcast.storage.table_files import Tables

_ANY_COLUMN, _OWN_READER = f"{schema.LABEL} int", "FileSourceScanExec"


class FilePiece(NamedTuple):
    """A piece of a file: its row groups whose middle byte lies from `start` to before `start + length`."""

    name: str
    start: int
    length: int

    def row_groups(self, about: pq.FileMetaData) -> list[int]:
        """The row groups that Spark's reader takes for the piece.

        Source: ParquetMetadataConverter.filterFileMetaDataByMidpoint of parquet-mr.
        """
        return [number for number in range(about.num_row_groups) if self._holds(about.row_group(number))]

    def _holds(self, group: pq.RowGroupMetaData) -> bool:
        first = group.column(0)
        begin = first.data_page_offset
        if first.has_dictionary_page and 0 < first.dictionary_page_offset < begin:
            begin = first.dictionary_page_offset
        size = sum(group.column(number).total_compressed_size for number in range(group.num_columns))
        return bool(self.start <= begin + size // 2 < self.start + self.length)


def table_partitions(spark: SparkSession, address: str) -> list[list[FilePiece]] | None:
    """The pieces of files that each partition has when Spark reads the table at an address, whatever it looks for.

    Which columns and rows are read does not show in them, so Spark is told of one column and reads no file for it.
    None where Spark was told to read Parquet in another way than its own, which keeps this to itself.
    """
    plan: Any = spark.read.schema(_ANY_COLUMN).parquet(address)._jdf.queryExecution().sparkPlan()
    if plan.getClass().getSimpleName() != _OWN_READER:
        return None
    (scan,) = _each(plan.inputRDDs())
    return [[_piece(file) for file in partition.files()] for partition in scan.partitions()]


def whole_files(files: Tables, table: str) -> list[list[FilePiece]]:
    """All files of a table, each as one piece: for rows whose order is of no account."""
    return [[FilePiece(PurePosixPath(name).name, 0, sys.maxsize)] for name in files.names(table)]


def _each(sequence: Any) -> list[Any]:
    """The items of a sequence of Scala."""
    return [sequence.apply(index) for index in range(sequence.length())]


def _piece(file: Any) -> FilePiece:
    """What Spark calls a PartitionedFile."""
    path = urlsplit(file.urlEncodedPath()).path
    return FilePiece(PurePosixPath(unquote(path)).name, file.start(), file.length())
