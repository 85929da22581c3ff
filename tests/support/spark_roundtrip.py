"""Writes a small Parquet table with Spark to a URL, twice, and reads it back.

Run by the tests with a Python of its own, PySpark 3.5's or ours. What to do comes as JSON on standard input, since
secrets do not belong on a command line: `spark` (settings), `hadoop` (settings) and `url`. The answer goes to standard
output as JSON.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

ROWS = 1_000


def main() -> None:
    """Do what standard input says."""
    wanted = json.load(sys.stdin)
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    for key, value in wanted["spark"].items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    context = spark.sparkContext
    for key, value in wanted["hadoop"].items():
        context._jsc.hadoopConfiguration().set(key, value)
    path = context._jvm.org.apache.hadoop.fs.Path(wanted["url"])
    kind = path.getFileSystem(context._jsc.hadoopConfiguration()).getClass().getName()
    rows = spark.range(ROWS).selectExpr("id", "cast(id as string) as text")
    for _ in range(2):  # the second time over the first
        rows.repartition(2).write.mode("overwrite").parquet(wanted["url"])
    found = spark.read.parquet(wanted["url"]).selectExpr("count(*)", "sum(id)", "count(distinct text)").first()
    hadoop = context._jvm.org.apache.hadoop.util.VersionInfo.getVersion()
    print(json.dumps({"spark": spark.version, "hadoop": hadoop, "fileSystem": kind, "found": list(found)}))
    spark.stop()


if __name__ == "__main__":
    main()
