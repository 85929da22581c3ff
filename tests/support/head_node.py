"""A head node of a YARN cluster for tests: a host by SSH that has the commands of a cluster's Spark and Hadoop.

It is in the network of this machine, as the cluster is, and has files of its own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artefacts import SPARK_HOME, SPARK_JARS
from clusters import Cluster
from container_runs import ROOT
from hosts import Host, running_hosts
from loadcast.spark.java import find_java

_SCRIPT = """#!/bin/sh
unset PYTHONPATH PYSPARK_SUBMIT_ARGS
export {variables}
exec {words} "$@"
"""
_FS_SHELL, _YARN_CLI = "org.apache.hadoop.fs.FsShell", "org.apache.hadoop.yarn.client.cli.ApplicationCLI"


@contextmanager
def running_head_node(folder: Path, cluster: Cluster) -> Iterator[Host]:
    """The head node of a running cluster while the block runs, with files below `folder`."""
    programs = folder / "programs"
    _make_commands(programs, cluster)
    shared = [SPARK_HOME, Path(cluster.environment["HADOOP_CONF_DIR"]).parent]
    uv, packages = ROOT / ".venv-tools" / "bin" / "uv", Path.home() / ".cache" / "uv"
    if uv.exists() and packages.exists():  # else the environment is made by pip, which takes minutes
        ours = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_"))}
        if Path("/etc/ssl/certs/ca-certificates.crt").exists():
            ours["UV_SYSTEM_CERTS"] = "1"
        _write(programs / "uv", [str(uv)], {**ours, "UV_CACHE_DIR": str(packages), "UV_PYTHON_DOWNLOADS": "never"})
        shared += [uv.parents[1], packages]
    with running_hosts(folder / "hosts", ["head"], programs=programs, shared=shared, network=False) as hosts:
        yield hosts["head"]


def _make_commands(folder: Path, cluster: Cluster) -> None:
    """Commands `spark-submit`, `hdfs` and `yarn` for a cluster, as its distribution has them."""
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


def _write(path: Path, words: list[str], variables: dict[str, str]) -> None:
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    path.write_text(_SCRIPT.format(variables=said, words=shlex.join(words)))
    path.chmod(0o755)
