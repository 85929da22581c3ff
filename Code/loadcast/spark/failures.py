"""What Spark reports as failures, as errors of ours: a worker's own error as what it was, others in one message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from loadcast import errors

_LONGEST_MESSAGE = 300
#: What follows the class is the message; it may hold line breaks, as a file's name can. The JVM's stack may come next.
_OURS = re.compile(r"^loadcast\.errors\.(\w+): (.*?)(?=\s*\n\tat |\s*\nJVM stacktrace|\s*\Z)", re.MULTILINE | re.DOTALL)


@contextmanager
def spark_failures() -> Iterator[None]:
    """Raise the LoadcastError that a worker raised, instead of Spark's report; any other failure as EngineError."""
    try:
        yield
    except (PySparkException, Py4JError, ConnectionError) as error:
        match = _OURS.search(str(error))
        kind = getattr(errors, match.group(1), None) if match else None
        if match and isinstance(kind, type) and issubclass(kind, errors.LoadcastError):
            raise kind(match.group(2)) from error
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise errors.EngineError(
            f"Spark failed: {first_line[:_LONGEST_MESSAGE]}. Nothing was published. Run again with --debug for the "
            "whole report and --spark-log for Spark's own; more memory: --conf spark.driver.memory=4g."
        ) from error
