"""Feature rows, encoded file by file; apart from the models, so that Python workers need not import pyspark.ml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from loadcast import paths
from loadcast.kernels.encode import Encoders, encoded_table
from loadcast.kernels.features import labelled
from loadcast.kernels.labels import LabelRule
from loadcast.spark.numbered import ROWS_PER_BATCH, each_number, numbers_in
from loadcast.spark.portable import send_by_value
from loadcast.spark.server_task import REPORT_SCHEMA, report_files, task_name
from loadcast.spark.types import SPARK_SCHEMA_KEY, to_struct
from loadcast.storage.parts import PartWriter
from loadcast.storage.table_files import Tables


@dataclass(frozen=True)
class EncodeTask:
    """The function that Spark runs: number of a file of feature rows → that file, encoded, as part of mlSource.

    With a `rule` the rows get their labels here.
    """

    files: tuple[str, ...]
    tables: Tables
    encoders: Encoders
    spark_schema: str
    rule: LabelRule | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with PartWriter(self.tables, task_name()) as parts:
            for number in numbers_in(batches):
                self._encode(self.files[number], parts)
        yield report_files(parts)

    def _encode(self, file: str, parts: PartWriter) -> None:
        with self.tables.reading(file) as path, pq.ParquetFile(path) as source:
            for batch in source.iter_batches(ROWS_PER_BATCH):
                rows = pa.Table.from_batches([batch])
                encoded = encoded_table(rows if self.rule is None else labelled(rows, self.rule), self.encoders)
                parts.write(paths.FEATURES, encoded.replace_schema_metadata({SPARK_SCHEMA_KEY: self.spark_schema}))


def encode_features(spark: SparkSession, task: EncodeTask) -> DataFrame:
    """Encode files of feature rows, one Spark task each; a frame of REPORT_SCHEMA."""
    send_by_value(task.encoders.features)
    return each_number(spark, len(task.files), task, to_struct(REPORT_SCHEMA))
