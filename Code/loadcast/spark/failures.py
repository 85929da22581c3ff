"""Errors of ours that happened in a Python worker, brought back as what they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException

from loadcast import errors

_OURS = re.compile(r"^loadcast\.errors\.(\w+): (.*)$", re.MULTILINE)


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
