"""The scan by loadcast through Spark: the scan and the one shuffle of ETL, then the final sums instead of features.

The only file of the benchmarks that knows the insides of loadcast. Rejected rows and counts are made as in ETL, and
then dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.contender import ScanJob, arguments, timed_work
from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.scan import RowFilter
from loadcast.pipeline.sessions import plan_tasks, shuffle_partitions
from loadcast.spark.scan import KIND_BUCKETS, scan_sessions
from loadcast.spark.server import REPORT_FILES, REPORT_SCHEMA, collect_reports, report, task_name
from loadcast.spark.session import SparkOptions, create_session
from loadcast.spark.types import to_struct
from loadcast.storage.files import find_files
from loadcast.storage.parts import PartWriter

_SCHEMA = pa.schema(
    [
        (schema.SERVER, pa.string()),
        (schema.BUCKET_START, schema.TIMESTAMP),
        (schema.NUM_SESSION, pa.int64()),
        *((name, pa.float64()) for name in schema.BUCKET_SUMS),
    ]
)
#: As spark/server.py bounds its memory.
_WORK_BYTES = 16 << 20


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
    shuffled = scanned.filter(F.col("kind") == KIND_BUCKETS).repartition(partitions, F.col("place"))
    return shuffled.sortWithinPartitions("place").mapInArrow(_Sum(job.result), to_struct(REPORT_SCHEMA))


@dataclass(frozen=True)
class _Sum:
    """Packed sums, sorted by server → final sums, written as ETL writes its tables.

    The last server at hand waits for what else may come of it.
    """

    result: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        folder, table = os.path.split(os.path.abspath(self.result))
        with PartWriter(folder, task_name()) as parts:
            waiting: list[pa.Table] = []
            for batch in batches:
                waiting.append(pa.Table.from_batches([batch]))
                if sum(table.nbytes for table in waiting) >= _WORK_BYTES:
                    sums = pa.concat_tables(waiting)
                    first = pc.index(sums.column("place"), sums.column("place")[-1]).as_py()
                    parts.write(table, _final(sums.slice(0, first)))
                    waiting = [sums.slice(first)]
            if waiting:
                parts.write(table, _final(pa.concat_tables(waiting)))
        yield report(REPORT_FILES, json.dumps(parts.written))


def _final(packed: pa.Table) -> pa.Table:
    if not packed.num_rows:
        return _SCHEMA.empty_table()
    places, payloads = (packed.column(name).combine_chunks() for name in ("place", "payload"))
    sums = bucket_kernel.unpack(places, payloads)
    microseconds = sums.buckets * (schema.BUCKET_SECONDS * 10**6)
    columns = [
        pa.array(sums.servers, pa.string()).take(pa.array(sums.codes)),
        pa.array(microseconds).cast(schema.TIMESTAMP),
        pa.array(sums.counts),
        *(pa.array(np.ascontiguousarray(column)) for column in sums.sums.T),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


if __name__ == "__main__":
    main()
