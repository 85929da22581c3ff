"""What Spark reports as failures, as errors of ours: a worker's own error as what it was, others in one message."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway

from loadcast import errors
from loadcast.system.disk import full_disk, is_full_disk

_LONGEST_MESSAGE = 300
_JAVA_END_S = 3.0
_NAMES_AN_ERROR = re.compile(r"(Caused by: )?[\w.$]*(Error|Exception): ")
#: What follows the class is the message; it may hold line breaks, as a file's name can. The JVM's stack may come next.
_OURS = re.compile(r"^loadcast\.errors\.(\w+): (.*?)(?=\s*\n\tat |\s*\nJVM stacktrace|\s*\Z)", re.MULTILINE | re.DOTALL)


def _cause(report: str) -> str:
    """The line of a report that says what happened: the last that names an error, else the first."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    named = [line for line in lines if _NAMES_AN_ERROR.match(line)]
    return (named[-1:] or lines[:1] or [""])[0][:_LONGEST_MESSAGE].rstrip(".:")


@contextmanager
def spark_failures(output: str | None = None) -> Iterator[None]:
    """Raise the LoadcastError that a worker raised, instead of Spark's report; any other failure as EngineError.

    A disk that is full is an OutputError, with the name of `output` or of the folder of temporary files.
    """
    try:
        yield
    except (PySparkException, Py4JError, ConnectionError, TimeoutError) as error:
        raise _explained(error, output) from error


def start_failure(error: Exception, said: str) -> errors.LoadcastError:
    """Why Spark did not start; `said` is what its Java process has written to standard error."""
    if is_full_disk(error) or is_full_disk(Exception(said)):
        return full_disk(tempfile.gettempdir())
    ended = _how_java_ended(error)
    if ended is not None:
        return ended
    return errors.EnvironmentNotReadyError(
        "Spark did not start. Check --master and --conf; --spark-log shows its log.",
        *f"{error}\n{said}".expandtabs().rstrip().split("\n"),
    )


def _explained(error: Exception, output: str | None) -> errors.LoadcastError:
    match = _OURS.search(str(error))
    kind = getattr(errors, match.group(1), None) if match else None
    if match and isinstance(kind, type) and issubclass(kind, errors.LoadcastError):
        return kind(*match.group(2).split("\n"))
    if is_full_disk(error):
        return full_disk(output or tempfile.gettempdir(), tempfile.gettempdir())
    return _how_java_ended(error) or errors.EngineError(
        f"Spark failed: {_cause(str(error)) or type(error).__name__}. Nothing was published. "
        "Run again with --debug for the whole report and --spark-log for Spark's own; "
        "more memory: --conf spark.driver.memory=4g."
    )


def _how_java_ended(error: Exception) -> errors.EngineError | None:
    """The error for a Java process that was killed; None where it was not, or cannot be told."""
    if isinstance(error, Py4JJavaError):  # it answers
        return None
    java = _java_of(error)
    if java is None:
        return None
    with suppress(subprocess.TimeoutExpired):  # its connections break a moment before it is gone
        java.wait(_JAVA_END_S)
    if java.returncode is None or java.returncode >= 0:
        return None
    name = signal.Signals(-java.returncode).name
    why = "the machine may be out of memory" if name == "SIGKILL" else "it may have been asked to end"
    return errors.EngineError(
        f"The JVM, Spark's Java process, was killed by {name}: {why}. Nothing was published. Run again with more "
        "memory free, or let Spark take less of it, such as --conf spark.driver.memory=1g."
    )


def _java_of(error: Exception) -> subprocess.Popen[bytes] | None:
    """The Java process of this session, or of one that did not come to be: then pyspark alone knows it."""
    started = getattr(SparkContext._gateway, "proc", None)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is launch_gateway.__code__:
            started = frame.f_locals.get("proc", started)
    return started if isinstance(started, subprocess.Popen) else None
