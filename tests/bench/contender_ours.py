"""The scan by loadcast through Spark: the scan and the one shuffle of ETL, then the final sums instead of features.

The only file of the benchmarks that knows the insides of loadcast. Rejected rows and counts are made as in ETL, and
then dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.contender import ScanJob, arguments, timed_work
from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.scan import RowFilter
from loadcast.pipeline.sessions import plan_tasks, shuffle_partitions
from loadcast.spark.scan import KIND_BUCKETS, PARTITION_KEY, scan_sessions
from loadcast.spark.server_task import REPORT_SCHEMA, WholeServers, collect_reports, report_files, task_name
from loadcast.spark.session import SparkOptions, create_session
from loadcast.spark.types import to_struct
from loadcast.storage.files import find_files
from loadcast.storage.parts import PartWriter
from loadcast.storage.table_files import FolderTables

_SCHEMA = pa.schema(
    [
        (schema.SERVER, pa.string()),
        (schema.BUCKET_START, schema.TIMESTAMP),
        (schema.NUM_SESSION, pa.int64()),
        *((name, pa.float64()) for name in schema.BUCKET_SUMS),
    ]
)


def main() -> None:
    """Run the scan."""
    _, job = arguments(ScanJob)
    spark = create_session("bench scan", SparkOptions(master=f"local[{job.threads}]"), brief=True)
    with timed_work() as said:
        said["engine"] = f"Spark {spark.version}"
        collect_reports(_sums(spark, job))


def _sums(spark: SparkSession, job: ScanJob) -> DataFrame:
    files = [file for path in job.files for file in find_files(path)]
    parallelism = spark.sparkContext.defaultParallelism
    begin, end = (epoch_seconds(datetime.strptime(text, schema.TIME_FORMAT)) for text in (job.begin, job.end))
    scanned = scan_sessions(spark, plan_tasks(files, parallelism), None, RowFilter(begin, end))
    partitions = shuffle_partitions(sum(file.size for file in files), parallelism)
    shuffled = scanned.filter(F.col("kind") == KIND_BUCKETS).repartition(partitions, F.col(PARTITION_KEY))
    return shuffled.sortWithinPartitions(PARTITION_KEY).mapInArrow(_Sum(job.result), to_struct(REPORT_SCHEMA))


@dataclass(frozen=True)
class _Sum:
    """Packed sums, sorted by server → final sums, written as ETL writes its tables."""

    result: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        folder, table = os.path.split(os.path.abspath(self.result))
        with PartWriter(FolderTables(folder), task_name()) as parts:
            servers = WholeServers()
            for batch in batches:
                done = servers.add(batch)
                if done.num_rows:
                    parts.write(table, _final(done))
            parts.write(table, _final(servers.rest()))
        yield report_files(parts)


def _final(packed: pa.Table) -> pa.Table:
    if not packed.num_rows:
        return _SCHEMA.empty_table()
    servers, payloads = (packed.column(name).combine_chunks() for name in (PARTITION_KEY, "payload"))
    sums = bucket_kernel.unpack(servers, payloads)
    microseconds = sums.buckets * (schema.BUCKET_SECONDS * 10**6)
    columns = [
        pa.array(sums.servers, pa.string()).take(pa.array(sums.codes)),
        pa.array(microseconds).cast(schema.TIMESTAMP),
        pa.array(sums.counts),
        *(pa.array(np.ascontiguousarray(column)) for column in bucket_kernel.round_sums(sums.sums).T),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


if __name__ == "__main__":
    main()
