"""Real clusters on this machine's loopback: Spark's own standalone one, and Hadoop's YARN with HDFS.

Their daemons are Java processes that are told what to do through py4j. Each ends when its standard input does, so none
outlives the tests, not even tests that were killed.
"""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JJavaError

from artefacts import SPARK_HOME, SPARK_JARS
from loadcast.spark.java import find_java

LOOPBACK = "127.0.0.1"
WORKERS = 2
_START_TIMEOUT_S, _STOP_TIMEOUT_S = 120, 10
_POLL_S = 0.05
_LOOPBACK_SETTINGS = {
    "spark.driver.host": LOOPBACK,
    "spark.driver.bindAddress": LOOPBACK,
    "spark.executor.memory": "768m",
    # As runs.OPTIONS: the same number of parts gives the same forest.
    "spark.default.parallelism": str(WORKERS),
    "spark.sql.shuffle.partitions": str(WORKERS),
}
#: These live for seconds: starting soon is worth more than running fast.
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
#: Spark's daemons and Hadoop's need little; each executor and each container is a process of its own.
_DAEMON_OPTIONS = ("-Xmx512m", *_SHORT_LIVED.split())


@dataclass(frozen=True)
class Hdfs:
    """A running HDFS: its address, such as `hdfs://localhost:1234`, and ways to bring files to it and from it."""

    address: str
    _file_system: Any
    _path: Any

    def upload(self, source: Path, target: str) -> str:
        """Copy a file or folder of this machine to the path `target`, such as `/logs`; gives its URL."""
        self._file_system.copyFromLocalFile(self._path(source.absolute().as_uri()), self._path(target))
        return self.address + target

    def download(self, source: str, target: Path) -> None:
        """Copy the file or folder at the path `source` to this machine."""
        self._file_system.copyToLocalFile(False, self._path(source), self._path(target.absolute().as_uri()), True)


@dataclass(frozen=True)
class Cluster:
    """A running cluster, and how a command reaches it: its master, settings for --conf, and environment variables.

    `hdfs` is its file system, where it has one; what names no other file system means a path in there.
    """

    master: str
    settings: dict[str, str]
    environment: dict[str, str]
    hdfs: Hdfs | None = None

    @property
    def options(self) -> list[str]:
        """What a command line needs to run on it."""
        settings = [f"--conf={key}={value}" for key, value in self.settings.items()]
        return ["--master", self.master, *settings]


@contextmanager
def java(folder: Path, jars: Sequence[Path] = (), environment: Mapping[str, str] | None = None) -> Iterator[Any]:
    """A Java process with Spark's classes and those of `jars`, working in `folder`; gives its py4j view.

    It has none of our environment: what a worker of a cluster has to know must come with the job.
    """
    home = find_java()
    classes = os.pathsep.join([str(SPARK_JARS / "*"), *map(str, jars)])
    argv = [str(home / "bin" / "java"), *_DAEMON_OPTIONS, "-cp", classes, "py4j.GatewayServer"]
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / "output.txt"
    with open(said, "wb") as output, open(folder / "errors.txt", "wb") as errors:
        process = subprocess.Popen(
            [*argv, "--die-on-broken-pipe", "--enable-auth", "0"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "JAVA_HOME": str(home),
                "SPARK_HOME": str(SPARK_HOME),
                # Workers make an executor's command of these, as Spark's start scripts would have set them.
                "SPARK_SCALA_VERSION": _scala_version(),
                "SPARK_LOCAL_IP": LOOPBACK,
                **(environment or {}),
            },
        )
    with process:
        try:
            port, token = _first_lines(said, 2, process)
            parameters = GatewayParameters(port=int(port), auth_token=token, auto_field=True, auto_convert=True)
            gateway = JavaGateway(gateway_parameters=parameters)
            try:
                yield gateway.jvm
            except Py4JJavaError as error:  # its text comes from the process, which is about to end
                raise RuntimeError(str(error)) from None
            finally:
                gateway.close()
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _scala_version() -> str:
    core = next(SPARK_JARS.glob("spark-core_*.jar"))
    return core.name.removeprefix("spark-core_").split("-")[0]


def _first_lines(file: Path, number: int, process: subprocess.Popen[bytes]) -> list[str]:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().splitlines(keepends=True)
        if len(lines) >= number and lines[number - 1].endswith("\n"):
            return [line.strip() for line in lines[:number]]
        time.sleep(_POLL_S)
    raise RuntimeError(f"Java did not start: {(file.parent / 'errors.txt').read_text()[-2_000:]}")


@contextmanager
def standalone_cluster(folder: Path) -> Iterator[Cluster]:
    """Spark's own cluster: a master and two workers of one core, each a process."""
    with java(folder / "master") as master, java(folder / "worker-0") as one, java(folder / "worker-1") as two:
        started = master.org.apache.spark.deploy.master.Master.startRpcEnvAndEndpoint(
            LOOPBACK, 0, 0, master.org.apache.spark.SparkConf(False)
        )
        address = f"spark://{LOOPBACK}:{started._1().address().port()}"
        for number, jvm in enumerate((one, two)):
            _start_worker(jvm, number, address, folder / f"worker-{number}" / "work")
        settings = {**_LOOPBACK_SETTINGS, "spark.executor.extraJavaOptions": _SHORT_LIVED}
        yield Cluster(address, settings, _environment(folder))


def _start_worker(jvm: Any, number: int, master: str, folder: Path) -> None:
    worker = jvm.org.apache.spark.deploy.worker.Worker
    nothing = jvm.scala.Option.empty()
    masters = jvm.java.lang.reflect.Array.newInstance(jvm.java.lang.Class.forName("java.lang.String"), 1)
    masters[0] = master
    settings = jvm.org.apache.spark.SparkConf(False)
    worker.startRpcEnvAndEndpoint(
        LOOPBACK, 0, 0, 1, 1024, masters, str(folder), jvm.scala.Option.apply(number), settings, nothing
    )


_YARN_SERVER = "org.apache.hadoop.yarn.server"
#: One user's cluster on one disk, in a hurry: no limits that a full disk or Java's large virtual memory would break.
_YARN = {
    "yarn.resourcemanager.scheduler.class": f"{_YARN_SERVER}.resourcemanager.scheduler.fifo.FifoScheduler",
    "yarn.scheduler.minimum-allocation-mb": "128",
    "yarn.minicluster.yarn.nodemanager.resource.memory-mb": "3072",
    "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "100",
    "yarn.nodemanager.vmem-check-enabled": "false",
    "yarn.nodemanager.pmem-check-enabled": "false",
    # Without its checker a node manager still looks at its disks once, and gives up on one that is 90 % full.
    "yarn.nodemanager.disk-health-checker.enable": "false",
    "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
}
#: What a client has to know; the rest of the minicluster's configuration names classes of its own.
_CLIENT_KEYS = ("yarn.resourcemanager.address", "yarn.resourcemanager.scheduler.address")


@contextmanager
def yarn_cluster(folder: Path, jars: Sequence[Path]) -> Iterator[Cluster]:
    """Hadoop's minicluster, which is in `jars`: HDFS with one data node, YARN with two node managers."""
    folder.mkdir(parents=True, exist_ok=True)
    hosts = folder / "hosts"
    hosts.write_text(f"{LOOPBACK} localhost {socket.gethostname()}\n")
    # This machine's name means the loopback to all of them, whatever it means to others, and if it means anything.
    options = f"-Djdk.net.hosts.file={hosts}"
    daemon = {"JDK_JAVA_OPTIONS": f"{options} -Dtest.build.data={folder / 'data'}"}
    with java(folder / "hadoop", jars, daemon) as hadoop:
        settings = hadoop.org.apache.hadoop.conf.Configuration()
        for key, value in _YARN.items():
            settings.set(key, value)
        dfs = hadoop.org.apache.hadoop.hdfs.MiniDFSCluster.Builder(settings).numDataNodes(1).build()
        dfs.waitActive()
        yarn = hadoop.org.apache.hadoop.yarn.server.MiniYARNCluster("loadcast", WORKERS, 1, 1)
        yarn.init(settings)
        yarn.start()
        assert yarn.waitForNodeManagersToConnect(1000 * _START_TIMEOUT_S)
        address = dfs.getURI().toString()
        hdfs = Hdfs(address, dfs.getFileSystem(), hadoop.org.apache.hadoop.fs.Path)
        configuration = folder / "conf"
        configuration.mkdir()
        found = {key: yarn.getConfig().get(key) for key in _CLIENT_KEYS}
        (configuration / "core-site.xml").write_text(_hadoop_xml({"fs.defaultFS": address}))
        (configuration / "yarn-site.xml").write_text(_hadoop_xml(found))
        environment = {**_environment(folder), "HADOOP_CONF_DIR": str(configuration), "JDK_JAVA_OPTIONS": options}
        # It is not stopped in order: that takes half a minute, and nothing of it is to be kept.
        yield Cluster("yarn", _yarn_settings(f"{options} {_SHORT_LIVED}"), environment, hdfs)


def _yarn_settings(java_options: str) -> dict[str, str]:
    return {
        **_LOOPBACK_SETTINGS,
        "spark.yarn.jars": f"local:{SPARK_JARS}/*",
        "spark.yarn.am.memory": "512m",
        "spark.executor.instances": str(WORKERS),
        "spark.executor.cores": "1",
        "spark.executorEnv.JDK_JAVA_OPTIONS": java_options,
        "spark.yarn.appMasterEnv.JDK_JAVA_OPTIONS": java_options,
        "spark.yarn.appMasterEnv.SPARK_LOCAL_IP": LOOPBACK,  # for a driver on a node
    }


def _hadoop_xml(settings: Mapping[str, str]) -> str:
    pairs = (f"<property><name>{key}</name><value>{value}</value></property>" for key, value in settings.items())
    return f"<configuration>{''.join(pairs)}</configuration>"


def _environment(folder: Path) -> dict[str, str]:
    """What a command that uses the cluster needs: a Python for the executors that has all packages, but not our code.

    Without `site` that Python does not see the editable install: what runs on a worker has come with the job.
    """
    python = folder / "python"
    packages = os.pathsep.join(site.getsitepackages())
    python.write_text(f"""#!/bin/sh
export PYTHONPATH="$PYTHONPATH:{packages}"
exec "{sys.executable}" -S "$@"
""")
    python.chmod(0o755)
    return {"PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": LOOPBACK}
