"""Work that is cut into numbered pieces, such as files: one Spark task each, which is told its number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

#: Rows of a file that such a task works on together.
ROWS_PER_BATCH = 32_768

Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def each_number(spark: SparkSession, pieces: int, task: Task, schema: StructType | str) -> DataFrame:
    """What `task` gives for each of so many pieces, as rows of `schema`."""
    # Of all frames that hold one row a task, a range alone promises a partition for each.
    return spark.range(0, pieces, 1, numPartitions=pieces).mapInArrow(task, schema)


def numbers_in(batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
    """The numbers that a task of `each_number` is told."""
    for batch in batches:
        yield from batch.column(0).to_pylist()
