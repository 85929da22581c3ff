"""What py4j and pyspark would say of a JVM that is gone, kept off the screen: our own error says it in one line."""

from __future__ import annotations

import logging

from py4j import java_gateway
from pyspark.sql import SparkSession

_LOGGERS = logging.getLogger("py4j")


def quiet_gateway(quiet: bool) -> None:
    """Let py4j log, or not; it logs by its own loggers, and what breaks off while it waits for an answer by the root.

    Its debug log has all that is sent to the JVM, keys included; its errors tell of a JVM that is gone, as ours do.
    What it logs at INFO as a thread's connection is closed makes Python 3.13 complain at its end: the thread is gone.
    """
    _LOGGERS.setLevel(logging.CRITICAL if quiet else logging.WARNING)
    root = logging.getLogger()
    (root.addFilter if quiet else root.removeFilter)(_of_others)


def _of_others(record: logging.LogRecord) -> bool:
    """Whether a record of the root logger is not py4j's."""
    return record.pathname != str(java_gateway.__file__)


def quiet_accumulators(session: SparkSession) -> None:
    """Keep the traceback off the screen that pyspark's server prints when the JVM breaks off."""
    server = getattr(session.sparkContext, "_accumulatorServer", None)
    if server is not None:
        server.handle_error = lambda request, address: None
