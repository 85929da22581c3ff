"""Feature rows, encoded file by file; apart from the models, so that Python workers need not import pyspark.ml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from loadcast import paths
from loadcast.kernels.encode import Encoders, encoded_table
from loadcast.spark.numbered import ROWS_PER_BATCH, each_number, numbers_in
from loadcast.spark.portable import send_by_value
from loadcast.spark.server_task import REPORT_SCHEMA, report_files, task_name
from loadcast.spark.types import SPARK_SCHEMA_KEY, to_struct
from loadcast.storage.parts import PartWriter
from loadcast.storage.table_files import Tables


@dataclass(frozen=True)
class EncodeTask:
    """The function that Spark runs: number of a file of feature rows → that file, encoded, as part of mlSource."""

    files: tuple[str, ...]
    tables: Tables
    encoders: Encoders
    spark_schema: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with PartWriter(self.tables, task_name()) as parts:
            for number in numbers_in(batches):
                self._encode(self.files[number], parts)
        yield report_files(parts)

    def _encode(self, file: str, parts: PartWriter) -> None:
        with self.tables.reading(file) as path, pq.ParquetFile(path) as source:
            for rows in source.iter_batches(ROWS_PER_BATCH):
                encoded = encoded_table(pa.Table.from_batches([rows]), self.encoders)
                parts.write(paths.FEATURES, encoded.replace_schema_metadata({SPARK_SCHEMA_KEY: self.spark_schema}))


def encode_features(
    spark: SparkSession, files: Sequence[str], tables: Tables, encoders: Encoders, spark_schema: str
) -> DataFrame:
    """Encode files of feature rows, given as paths in `tables`, one Spark task each; a frame of REPORT_SCHEMA.

    `spark_schema` is Spark's schema of the result, as JSON.
    """
    send_by_value(encoders.features)
    task = EncodeTask(tuple(files), tables, encoders, spark_schema)
    return each_number(spark, len(files), task, to_struct(REPORT_SCHEMA))
