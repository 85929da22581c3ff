"""A head node of a YARN cluster for tests: a host by SSH that has the commands of a cluster's Spark and Hadoop."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from artefacts import SPARK_HOME, SPARK_JARS
from clusters import Cluster
from loadcast.spark.java import find_java

_SCRIPT = """#!/bin/sh
unset PYTHONPATH PYSPARK_SUBMIT_ARGS
export {variables}
exec {words} "$@"
"""
_FS_SHELL, _YARN_CLI = "org.apache.hadoop.fs.FsShell", "org.apache.hadoop.yarn.client.cli.ApplicationCLI"


def make_cluster_commands(folder: Path, cluster: Cluster) -> Path:
    """Commands `spark-submit`, `hdfs` and `yarn` for a cluster, as its distribution has them; returns their folder."""
    folder.mkdir(parents=True)
    java = find_java()
    variables = {
        **{name: cluster.environment[name] for name in ("HADOOP_CONF_DIR", "JDK_JAVA_OPTIONS", "SPARK_LOCAL_IP")},
        "JAVA_HOME": str(java),
        "SPARK_HOME": str(SPARK_HOME),
    }
    classes = os.pathsep.join((cluster.environment["HADOOP_CONF_DIR"], str(SPARK_JARS / "*")))
    program = [str(java / "bin" / "java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classes]
    _write(folder / "spark-submit", [str(SPARK_HOME / "bin" / "spark-submit")], variables)
    _write(folder / "hdfs", ["sh", "-c", f'shift; exec {shlex.join([*program, _FS_SHELL])} "$@"', "hdfs"], variables)
    _write(folder / "yarn", [*program, _YARN_CLI], variables)
    return folder


def _write(path: Path, words: list[str], variables: dict[str, str]) -> None:
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    path.write_text(_SCRIPT.format(variables=said, words=shlex.join(words)))
    path.chmod(0o755)
