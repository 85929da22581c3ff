"""Forking Spark's Python workers from a process that is ready for their work."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pyarrow as pa
import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

from loadcast.logs.relay import send_to_driver


def fork_workers(prepare: Callable[[], object]) -> None:
    """Fork workers for Spark until it ends; `prepare` does what each of them would have to."""
    send_to_driver()
    pa.array([0])  # pyarrow imports pandas with its first array
    prepare()
    # Spark's daemon collects garbage after every task: a tenth of a second, were all that was imported looked at.
    gc.freeze()
    manager()
