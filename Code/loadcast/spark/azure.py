"""A session and the place of its results: Hadoop's drivers for containers, and folders that all machines see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from loadcast.errors import OutputError
from loadcast.spark.session import is_local
from loadcast.storage.staging import Staging
from loadcast.storage.table_files import FolderTables


def connect(spark: SparkSession, staging: Staging) -> None:
    """Let Spark and the tasks write a container's run straight to its place, if a driver for Azure is there.

    Raises OutputError where results go through a folder that not all of the cluster's machines have.
    """
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    for key, value in staging.write_directly(_Hadoop(spark.sparkContext._jvm, configuration)).items():
        configuration.set(key, value)
    if isinstance(staging.tables, FolderTables) and not is_local(spark.sparkContext.master):
        _check_shared(spark, str(staging.folder.absolute()))


def _check_shared(spark: SparkSession, folder: str) -> None:
    """Ask a task a core, before terabytes are read in vain. A machine that joins later is noticed only at the end."""
    cores = spark.sparkContext.defaultParallelism
    asked = spark.sparkContext.parallelize(range(cores), cores).mapPartitions(partial(_sees, folder))
    if not all(asked.collect()):
        raise OutputError(
            f"{folder}: results would be gathered in this folder, and not all of the cluster's machines have it. "
            "Choose an output in a folder that they share, or in a container that Spark can enter: Docs/STORAGE.md "
            "says with which of Hadoop's drivers."
        )


def _sees(folder: str, _: Iterable[int]) -> Iterator[bool]:
    yield os.path.isdir(folder)


class _Hadoop:
    """The session's Hadoop."""

    def __init__(self, jvm: Any, configuration: Any) -> None:
        self._configuration = configuration
        self._loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
        match = re.match(r"[0-9.]+", jvm.org.apache.hadoop.util.VersionInfo.getVersion())
        self.version = tuple(map(int, filter(None, match.group().split(".")))) if match else ()

    def setting(self, key: str) -> str | None:
        value: str | None = self._configuration.get(key)
        return value

    def has_class(self, name: str) -> bool:
        """Whether it is among Spark's own packages, or those that `spark.jars.packages` has added."""
        return self._loader.getResource(f"{name.replace('.', '/')}.class") is not None
