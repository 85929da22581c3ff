"""Spark's own reads and writes in containers, by Hadoop's drivers for Azure where the cluster has one."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from loadcast.storage.staging import Staging


def connect(spark: SparkSession, staging: Staging) -> None:
    """Let Spark and the tasks write a container's run straight to its place, if a driver for Azure is there."""
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    for key, value in staging.write_directly(_Hadoop(spark.sparkContext._jvm, configuration)).items():
        configuration.set(key, value)


class _Hadoop:
    """The session's Hadoop."""

    def __init__(self, jvm: Any, configuration: Any) -> None:
        self._configuration = configuration
        self._loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()

    def setting(self, key: str) -> str | None:
        value: str | None = self._configuration.get(key)
        return value

    def has_class(self, name: str) -> bool:
        """Whether it is among Spark's own packages, or those that `spark.jars.packages` has added."""
        return self._loader.getResource(f"{name.replace('.', '/')}.class") is not None
