"""What a Spark task does while boosted trees grow: it holds its rows, and agrees on every split with the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import BarrierTaskContext

from loadcast.kernels.vectors import numbers_in
from loadcast.models.boosted import MISSING
from loadcast.spark.boosting import load_xgboost

MODEL = "model"


@dataclass(frozen=True)
class GrowTask:
    """Grows `rounds` of trees by xgboost's `parameters`, in all tasks of a barrier stage together.

    Batches have the columns `features`, lists of `width` numbers of 32 bits, and `label`, counted from 0.
    The first task answers with the model as xgboost's JSON.
    """

    parameters: dict[str, Any]
    rounds: int
    width: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Mapped over the batches of each task. Raises EnvironmentNotReadyError where xgboost is missing."""
        xgboost = load_xgboost()
        matrix, labels = _arrays(batches, self.width)
        context = BarrierTaskContext.get()
        shared = {name: self.parameters[name] for name in ("max_bin", "nthread")}
        with _together(context):
            rows = xgboost.QuantileDMatrix(matrix, labels, missing=float(MISSING), **shared)
            grown = xgboost.train(self.parameters, rows, self.rounds)
        if context.partitionId() == 0:
            yield pa.RecordBatch.from_pydict({MODEL: [bytes(grown.save_raw("json"))]})


def _arrays(batches: Iterable[pa.RecordBatch], width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All rows of the task: (n, width) and (n,)."""
    matrices: list[NDArray[Any]] = [np.zeros((0, width), np.float32)]
    labels: list[NDArray[Any]] = [np.zeros(0, np.float32)]
    for batch in batches:
        features, label = batch.columns
        matrices.append(numbers_in(features.flatten()).reshape(-1, width))
        labels.append(numbers_in(label))
    return np.concatenate(matrices), np.concatenate(labels)


@contextmanager
def _together(context: BarrierTaskContext) -> Iterator[None]:
    """While this is open xgboost's sums are those of all tasks; the first task's process brings them together."""
    from xgboost.collective import CommunicatorContext
    from xgboost.tracker import RabitTracker

    tasks = context.getTaskInfos()
    if len(tasks) == 1:
        yield
        return
    tracker = None
    if context.partitionId() == 0:
        host = tasks[0].address.rpartition(":")[0]
        tracker = RabitTracker(n_workers=len(tasks), host_ip=host, sortby="task")
        tracker.start()
    told = context.allGather(json.dumps(tracker.worker_args()) if tracker else "")
    with CommunicatorContext(dmlc_task_id=str(context.partitionId()), **json.loads(told[0])):
        yield
    if tracker:
        tracker.wait_for()
        tracker.free()
