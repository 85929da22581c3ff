"""On one machine, what Spark's workers log is seen where the command was started, as it happens."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from loadcast.logs.events import STORAGE, log_event

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def wait_for_storage(number: int) -> int:
    """A task that has to ask again."""
    log_event(STORAGE, logging.INFO, "retry", "not shown")
    log_event(STORAGE, logging.WARNING, "retry", "Waiting for storage: throttled.", status=503, task=number)
    return number


def test_a_warning_of_a_worker_reaches_the_drivers_log(spark: SparkSession, caplog: pytest.LogCaptureFixture) -> None:
    assert spark.sparkContext.parallelize(range(2), 2).map(wait_for_storage).collect() == [0, 1]
    end = time.monotonic() + 60
    while len(caplog.records) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    told = sorted(record.fields["task"] for record in caplog.records if record.name == STORAGE.name)  # type: ignore[attr-defined]
    assert told == [0, 1]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
