"""What Spark reports as failures, as errors of ours: a worker's own error as what it was, others in one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from loadcast import errors

_LONGEST_MESSAGE = 300
_NAMES_AN_ERROR = re.compile(r"(Caused by: )?[\w.$]*(Error|Exception): ")
#: What follows the class is the message; it may hold line breaks, as a file's name can. The JVM's stack may come next.
_OURS = re.compile(r"^loadcast\.errors\.(\w+): (.*?)(?=\s*\n\tat |\s*\nJVM stacktrace|\s*\Z)", re.MULTILINE | re.DOTALL)


def _cause(report: str) -> str:
    """The line of a report that says what happened: the last that names an error, else the first."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    named = [line for line in lines if _NAMES_AN_ERROR.match(line)]
    return (named[-1:] or lines[:1] or [""])[0][:_LONGEST_MESSAGE].rstrip(".:")


@contextmanager
def spark_failures() -> Iterator[None]:
    """Raise the LoadcastError that a worker raised, instead of Spark's report; any other failure as EngineError."""
    try:
        yield
    except (PySparkException, Py4JError, ConnectionError, TimeoutError) as error:
        match = _OURS.search(str(error))
        kind = getattr(errors, match.group(1), None) if match else None
        if match and isinstance(kind, type) and issubclass(kind, errors.LoadcastError):
            raise kind(match.group(2)) from error
        raise errors.EngineError(
            f"Spark failed: {_cause(str(error)) or type(error).__name__}. Nothing was published. "
            "Run again with --debug for the whole report and --spark-log for Spark's own; "
            "more memory: --conf spark.driver.memory=4g."
        ) from error
