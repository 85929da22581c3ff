"""What the gate lets through of the test period: a second look at its rows, once it is known what all servers say."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from loadcast.kernels.calendar import first_whole_hour
from loadcast.kernels.gate import Gate, prior_tables
from loadcast.kernels.gated_scores import Band, GatedTally, gated_report, gated_tally
from loadcast.spark.numbered import each_number, numbers_in
from loadcast.spark.scoring import Scores, ScoreTask
from loadcast.spark.server_task import REPORT_SCHEMA, collect_reports, report
from loadcast.spark.types import to_struct

_REPORT_GATED = "gated"


@dataclass(frozen=True)
class GateTask:
    """The function that Spark runs: number of a file of mlSource → what the gates let through of its test rows.

    `commonest` is what naive forecasts say that have no answer.
    """

    task: ScoreTask
    gates: Mapping[Band, Gate]
    commonest: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in numbers_in(batches):
            _, test = self.task.tested(number).outcomes()
            tally = gated_tally(test.answered(self.commonest), self.gates)
            yield report(_REPORT_GATED, json.dumps({"file": number, **tally.as_json()}))


def gated_scores(spark: SparkSession, task: ScoreTask, scores: Scores, evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """The gated part of metrics.json, of what is evaluated: see kernels.gated_scores.gated_report."""
    naive = evaluated["train"]["naive"]
    names = ("model", *naive)
    if scores.evidence is None or not scores.evidence.bands:
        return gated_report(GatedTally.none(len(names)), names)
    matrices = np.array([part["confusionMatrix"]["rowsAreTrueClass"] for part in naive.values()])
    commonest = 1 + int(matrices[0].sum(axis=1).argmax())
    gates = scores.evidence.answered(commonest).gates(prior_tables(matrices), first_whole_hour(task.split))
    gate_task = GateTask(task, gates, commonest)
    reports = collect_reports(each_number(spark, len(task.files), gate_task, to_struct(REPORT_SCHEMA)))
    parts = sorted((json.loads(text) for text in reports[_REPORT_GATED]), key=lambda part: int(part["file"]))
    tallies = map(GatedTally.from_json, parts)  # in the order of the files: sums of losses depend on it
    return gated_report(functools.reduce(GatedTally.plus, tallies, GatedTally.none(len(names))), names)
