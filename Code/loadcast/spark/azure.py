"""Spark's own reads and writes in containers, by Hadoop's driver for Azure where the cluster has it."""

from __future__ import annotations

from pyspark.sql import SparkSession

from loadcast.storage.staging import Staging


def connect(spark: SparkSession, staging: Staging) -> None:
    """Let Spark and the tasks write a container's run straight to its place, if Hadoop's driver for Azure is there."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    access = staging.spark_access(hadoop.get)
    if access is None or not _has_driver(spark):
        return
    for key, value in access.items():
        hadoop.set(key, value)
    staging.write_directly()


def _has_driver(spark: SparkSession) -> bool:
    """Whether the driver is among Spark's own packages, or those that `spark.jars.packages` has added."""
    jvm = spark.sparkContext._jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()  # type: ignore[union-attr]
    return loader.getResource("org/apache/hadoop/fs/azurebfs/AzureBlobFileSystem.class") is not None
