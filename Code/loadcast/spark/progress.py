"""Tasks done in Spark's running stages, told to a Progress step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from loadcast.progress import Progress

_POLL_SECONDS = 0.3


@contextmanager
def watched(spark: SparkSession, progress: Progress, title: str) -> Iterator[None]:
    """A step of `progress` that follows the stages that run inside the block."""
    stop = threading.Event()
    with progress(title) as update:
        tracker = spark.sparkContext.statusTracker()

        def follow() -> None:
            while not stop.wait(_POLL_SECONDS):
                try:
                    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
                except (Py4JError, OSError):  # the JVM has died: the work itself will say so
                    return
                known = [stage for stage in stages if stage is not None]
                if known:
                    update(sum(stage.numCompletedTasks for stage in known), sum(stage.numTasks for stage in known))

        follower = threading.Thread(target=follow, name="loadcast-progress", daemon=True)
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()
