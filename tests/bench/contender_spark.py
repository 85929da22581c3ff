"""The scan by Spark's own CSV reader, in two ways, both with an explicit schema and in a session as ours.

`text`: fields as text, converted in SQL with try_cast; the reader's corrupt-record column says which lines have another
number of fields. The right answer, and the least work of those that give it.
`typed`: typed columns and no check but of the numbers' bounds. Approximate.
"""

from __future__ import annotations

import re

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.contender import ADDRESS, ScanJob, arguments, timed_work
from loadcast.spark.session import SparkOptions, create_session

_CORRUPT = "corruptRecord"
_TIME_FORMAT = "yyyy-MM-dd HH:mm:ss"


def main() -> None:
    """Run one variant."""
    variant, job = arguments(ScanJob)
    spark = create_session("bench csv", SparkOptions(master=f"local[{job.threads}]"))
    with timed_work() as said:
        said["engine"] = f"Spark {spark.version}"
        lines = _text(spark, job) if variant == "text" else _typed(spark, job)
        _sums(lines, job).write.option("compression", "snappy").parquet(job.result)


def _text(spark: SparkSession, job: ScanJob) -> DataFrame:
    """Whole lines, their times and numbers converted."""
    # Any column of a file may be text in a line with too few fields, so the schema has to have them all.
    types = ", ".join(f"{name} string" for name in [*job.columns, _CORRUPT])
    # The cast takes more than this format, and 24:00:00 for the next day.
    time = F.col(job.start).like("____-__-__ __:__:__")
    numbers = [F.col(name).try_cast("double").alias(name) for name in job.measures]
    return (
        # With column pruning, a record counts as whole whatever its number of fields.
        _read(spark, job, types, columnNameOfCorruptRecord=_CORRUPT, columnPruning="false")
        .filter(F.col(_CORRUPT).isNull() & time)
        .select(job.server, F.col(job.start).try_cast("timestamp_ntz").alias(job.start), *numbers)
    )


def _typed(spark: SparkSession, job: ScanJob) -> DataFrame:
    types = dict.fromkeys(job.measures, "double") | {job.start: "timestamp_ntz"}
    schema = ", ".join(f"{name} {types.get(name, 'string')}" for name in job.columns)
    return _read(spark, job, schema, timestampNTZFormat=_TIME_FORMAT)


def _read(spark: SparkSession, job: ScanJob, types: str, **options: str) -> DataFrame:
    # Hadoop takes a path for a pattern.
    files = [re.sub(r"([][{}*?\\])", r"\\\1", file) for file in job.files]
    return spark.read.schema(types).options(header="false", mode="PERMISSIVE", **options).csv(files)


def _sums(lines: DataFrame, job: ScanJob) -> DataFrame:
    """Sums per server and bucket; a number out of bounds (NaN, too) adds nothing."""
    start = F.col(job.start)
    seconds = F.unix_timestamp(start.cast("timestamp"))
    begin, end = (F.lit(text).cast("timestamp_ntz") for text in (job.begin, job.end))
    sums = [_bounded(name, job).alias(label) for name, label in zip(job.measures, job.sums, strict=True)]
    bucket = F.timestamp_seconds(F.col(job.bucket) * job.bucket_seconds).cast("timestamp_ntz").alias(job.bucket)
    return (
        lines.filter(start.between(begin, end))
        .groupBy(job.server, F.floor(seconds / job.bucket_seconds).alias(job.bucket))
        .agg(F.count("*").alias(job.number), *sums)
        .filter(F.col(job.server).rlike(f"^{ADDRESS}$"))
        .select(job.server, bucket, job.number, *job.sums)
    )


def _bounded(name: str, job: ScanJob) -> Column:
    value = F.col(name)
    return F.coalesce(F.sum(F.when(value.between(0, job.largest), value)), F.lit(0.0))


if __name__ == "__main__":
    main()
