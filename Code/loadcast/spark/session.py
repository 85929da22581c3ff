"""Starting Spark, quietly and with settings that suit this pipeline."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeGuard

from pyspark import SparkFiles
from pyspark.sql import SparkSession
from pyspark.version import __version__

from loadcast.logs.relay import open_relay
from loadcast.spark.archive import archive_options, is_awkward
from loadcast.spark.failures import start_failure
from loadcast.spark.java import find_java
from loadcast.spark.options import SparkOptions
from loadcast.spark.quiet import quiet_accumulators, quiet_gateway
from loadcast.system import signals
from loadcast.system.temporary import default_for_others, process_folder

__all__ = ["SPARK_VERSION", "Spark", "SparkOptions", "create_session", "is_local", "wake_workers"]

#: Of PySpark as it is imported: a cluster's own, which comes as a zip, has no metadata of a package.
SPARK_VERSION: str = __version__
#: The session's type, for those who pass one on without importing pyspark.
Spark = SparkSession

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_PACKAGE = "loadcast"
_LARGEST_HEAP_MB = 16_384
_LOG_CONFIGURATION = Path(__file__).with_name("log4j2.properties")
#: The JVM keeps figures of itself in a file in /tmp, whatever is set, which stays when it is killed.
_NO_FILES_ELSEWHERE = ("-XX:-UsePerfData",)
#: Seconds for a JVM to leave that has more to tidy up than its temporary folder: a cluster's application, say.
_GRACE_S = 3.0
_DIRECTIVES = Path(__file__).with_name("compiler_directives.json")


def default_settings(master: str | None, brief: bool = False) -> dict[str, str]:
    """Our Spark settings, for a given master (None: the one that spark-submit names); `brief` as for java_options.

    On one machine memory grows with the cores; ETL's tables do not pass through the JVM, so it needs half as much.
    """
    settings = {
        "spark.sql.session.timeZone": "UTC",
        # Times are wall-clock times without a zone, also where Spark reads Parquet that has no Spark schema in it.
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        # A row on its way to Python holds up to 1.2 MB of packed buckets: few rows to a batch.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "64",
        # The caller's line for each expression, for error messages: looking for it imports IPython, where that is.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        # What Spark hides in its pages and event logs: its default, and keys of Hadoop's driver for Azure.
        "spark.redaction.regex": r"(?i)secret|password|token|access[.]?key|account[.]key|fs[.]azure[.]sas",
    }
    if is_local(master):
        settings |= {
            "spark.driver.memory": f"{_heap_mb(_local_cores(master), brief)}m",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": str(2 * _local_cores(master)),
            "spark.python.daemon.module": _daemon(brief),
            # As Spark SQL has it for its workers: with the same environment, those of wake_workers are of use to it.
            "spark.executorEnv.SPARK_SIMPLIFIED_TRACEBACK": "1",
        }
    return settings


def _daemon(brief: bool) -> str:
    """The module that Python workers are forked from; of ETL with the blob client, where this process has needed it."""
    if not brief:
        return "loadcast.spark.scoring_daemon"
    return "loadcast.spark.blob_daemon" if "loadcast.storage.blob.container" in sys.modules else "loadcast.spark.daemon"


def java_options(
    master: str | None, brief: bool, show_log: bool, java_home: Path | None = None, temporary: Path | None = None
) -> str:
    """Options of the driver's JVM. `brief`: it mostly hands data on, for seconds or minutes, as in ETL.

    On one machine such a JVM ends sooner without the optimizing compiler, which would take a core for itself; the
    forest needs it, for the code that works on data (Docs/BENCHMARKS.md). With `java_home` it shares the classes of
    earlier runs with that Java. Its temporary files, those of Spark included, go to the folder `temporary`.
    """
    options = [] if show_log else [f"-Dlog4j2.configurationFile={_LOG_CONFIGURATION.as_uri()}"]
    options += [f"-Djava.io.tmpdir={temporary}", *_NO_FILES_ELSEWHERE] if temporary else []
    if is_local(master):
        options += ["-XX:+UseParallelGC", *(["-XX:TieredStopAtLevel=1"] if brief else _for_long_work())]
        options += archive_options(java_home, "brief" if brief else "long") if java_home else []
    return " ".join(options)


def _for_long_work() -> list[str]:
    """Options for a forest: its counts lie all over hundreds of megabytes, so large pages spare looking up addresses.

    Only Java for Linux knows of them; where the system has none it goes on without.
    """
    return [*(["-XX:+UseTransparentHugePages"] if sys.platform == "linux" else []), *_sparing_compiler()]


def _sparing_compiler() -> list[str]:
    """Options that keep the optimizing compiler to what is worth its time; none where the file has an awkward name."""
    if is_awkward(_DIRECTIVES):
        return []
    # The JVM says on standard output that it has read the file, unless it is to say all on standard error.
    return [
        "-XX:+DisplayVMOutputToStderr",
        "-XX:+UnlockDiagnosticVMOptions",
        f"-XX:CompilerDirectivesFile={_DIRECTIVES}",
    ]


def create_session(
    app_name: str,
    options: SparkOptions | None = None,
    brief: bool = False,
    meanwhile: Callable[[], object] | None = None,
) -> SparkSession:
    """Start Spark (or join the session that runs already).

    `brief` is as for java_options; with it, Python workers are started at once. `meanwhile` is called while the JVM
    starts: it imports pyspark.ml, say, which takes a second. Raises EnvironmentNotReadyError where Java is missing or
    Spark does not start.
    """
    options = options or SparkOptions()
    quiet_gateway(not options.show_log)
    java_home, master = find_java(), _master(options)
    _set_environment(java_home, master)
    temporary = process_folder()
    java = java_options(master, brief, options.show_log, java_home, None if is_awkward(temporary) else temporary)
    builder = _builder(app_name, master, options, brief, java)
    with ThreadPoolExecutor(1) as pool, _java_output(options.show_log, temporary) as log:
        called = pool.submit(meanwhile) if meanwhile else None
        try:
            with default_for_others(temporary):
                session = builder.getOrCreate()
        except Exception as error:
            raise start_failure(error, log.read_text(errors="replace")[-2_000:].strip() if log else "") from error
        signals.take_back(_grace_s(master, options, java))
        if not options.show_log:
            quiet_accumulators(session)
        if called:
            called.result()
        if not is_local(session.sparkContext.master):
            _send_package(session)
        if brief:
            wake_workers(session, session.sparkContext.defaultParallelism)
        return session


def _set_environment(java_home: Path, master: str | None) -> None:
    """What the JVM and the Python workers are to find in their environment."""
    os.environ["JAVA_HOME"] = str(java_home)
    os.environ["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON", sys.executable)
    os.environ["PYTHONPATH"] = _with_package(os.environ.get("PYTHONPATH", ""))
    if is_local(master):
        open_relay()
        # Spark need not know the machine's name, which need not resolve.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")


def _grace_s(master: str | None, options: SparkOptions, java: str) -> float:
    """Seconds that the JVM needs to leave nothing behind when the command is stopped; 0: it may be killed."""
    settings = _settings(master, options, False, java)
    only_our_folder = settings["spark.driver.extraJavaOptions"] == java and "java.io.tmpdir" in java
    elsewhere = "spark.local.dir" in settings or "SPARK_LOCAL_DIRS" in os.environ
    return 0.0 if is_local(master) and only_our_folder and not elsewhere else _GRACE_S


def _send_package(session: SparkSession) -> None:
    """Give loadcast's own code to the executors: their machines need Python and the packages of requirements.lock only.

    They take it before one of theirs that may be older.
    """
    archive = Path(SparkFiles.getRootDirectory(), f"{_PACKAGE}.zip")  # Spark removes it with the session
    if archive.exists():  # a session that was joined
        return
    with zipfile.ZipFile(archive, "w") as file:
        for module in sorted((_PACKAGE_ROOT / _PACKAGE).rglob("*.py")):
            file.write(module, module.relative_to(_PACKAGE_ROOT))
    session.sparkContext.addPyFile(str(archive))


def wake_workers(session: SparkSession, number: int) -> None:
    """Start Python workers, in the background, so that they have imported all when the first real task comes.

    On one machine only; on a cluster nobody can say which executors the real tasks will be given to. Each takes the
    slot of a task while it starts, and the first as long as its imports take.
    """
    if is_local(session.sparkContext.master):
        threading.Thread(target=_wake, args=(session, number), name="loadcast-workers", daemon=True).start()


def _wake(session: SparkSession, number: int) -> None:
    """A job of nothing; not one of Spark SQL, which would first load a second's worth of classes."""
    with suppress(Exception):  # the real job will say what is wrong
        session.sparkContext.parallelize(range(number), number).mapPartitions(iter).count()


def _master(options: SparkOptions) -> str | None:
    """The master to name; None under spark-submit, which names its own."""
    named = options.master or os.environ.get("SPARK_MASTER")
    return named or (None if "PYSPARK_GATEWAY_PORT" in os.environ else "local[*]")


def _builder(app_name: str, master: str | None, options: SparkOptions, brief: bool, java: str) -> SparkSession.Builder:
    builder = SparkSession.builder.appName(app_name)
    if master is not None:
        builder = builder.master(master)
    for key, value in _settings(master, options, brief, java).items():
        builder = builder.config(key, value)
    return builder


def _settings(master: str | None, options: SparkOptions, brief: bool, java: str) -> dict[str, str]:
    return {**default_settings(master, brief), "spark.driver.extraJavaOptions": java, **options.extra}


def is_local(master: str | None) -> TypeGuard[str]:
    """Whether a master is this machine alone."""
    return master is not None and master.startswith("local")


def _heap_mb(cores: int, brief: bool) -> int:
    whole = min(_LARGEST_HEAP_MB, max(2_048, 512 * cores))
    return whole // 2 if brief else whole


def _local_cores(master: str) -> int:
    inside = master.removeprefix("local").strip("[]").split(",")[0]
    return int(inside) if inside.isdigit() else 1 if not inside else os.cpu_count() or 1


def _with_package(python_path: str) -> str:
    """PYTHONPATH with the folder that holds loadcast, for Spark's Python workers."""
    parts = [part for part in python_path.split(os.pathsep) if part]
    root = str(_PACKAGE_ROOT)
    return os.pathsep.join(parts if root in parts else [root, *parts])


@contextmanager
def _java_output(show: bool, folder: Path) -> Iterator[Path | None]:
    """Send what the JVM writes to standard error into a file in a folder, unless it is to be shown.

    The JVM inherits the descriptor, so this has to hold at its start; Python's own errors are not touched afterwards.
    """
    if show:
        yield None
        return
    sys.stderr.flush()
    handle, name = tempfile.mkstemp(prefix="loadcast-spark-", suffix=".log", dir=folder)
    kept = os.dup(2)
    os.dup2(handle, 2)
    try:
        yield Path(name)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(handle)
        os.unlink(name)
