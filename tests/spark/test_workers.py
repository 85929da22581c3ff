"""Python workers are started before they are needed, and then are the ones that are used."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_workers_of_an_rdd_job_serve_spark_sql(spark: SparkSession) -> None:
    def daemon(_: object) -> list[int]:
        return [os.getppid()]

    def daemon_in_arrow(_: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": [os.getppid()]})

    by_rdd = spark.sparkContext.parallelize([0], 1).mapPartitions(daemon).collect()
    by_sql = spark.range(0, 1, 1, 1).mapInArrow(daemon_in_arrow, "id long").collect()
    assert by_rdd == [row.id for row in by_sql]


def test_a_thread_that_talked_to_the_jvm_ends_without_a_trace(spark: SparkSession) -> None:
    def strangers() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("Dummy-")}

    before = strangers()
    thread = threading.Thread(target=spark.sparkContext._jvm.System.nanoTime)
    thread.start()
    thread.join()
    assert strangers() == before
