"""Errors of ours that happened in a Python worker, brought back as what they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException

from loadcast import errors

#: What follows the class is the message; it may hold line breaks, as a file's name can. The JVM's stack may come next.
_OURS = re.compile(r"^loadcast\.errors\.(\w+): (.*?)(?=\s*\n\tat |\s*\nJVM stacktrace|\s*\Z)", re.MULTILINE | re.DOTALL)


@contextmanager
def worker_errors() -> Iterator[None]:
    """Raise the LoadcastError that a worker raised, instead of Spark's report of it."""
    try:
        yield
    except PySparkException as error:
        match = _OURS.search(str(error))
        kind = getattr(errors, match.group(1), None) if match else None
        if match and isinstance(kind, type) and issubclass(kind, errors.LoadcastError):
            raise kind(match.group(2)) from error
        raise
