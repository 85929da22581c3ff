"""A new model against the one that answers now, on the rows of the test period: a second look at them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from loadcast import schema
from loadcast.kernels.backtest.contest import ContestTally
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.encode import Encoders, encoded_table
from loadcast.kernels.features.dates import HOURS_PER_YEAR, LINEAR_TREND
from loadcast.kernels.grid import hours_of
from loadcast.models.model import Model, Prediction, answers_of
from loadcast.spark.numbered import each_number, numbers_in
from loadcast.spark.portable import send_by_value
from loadcast.spark.scoring import ScoreTask
from loadcast.spark.server_task import REPORT_SCHEMA, collect_reports, report
from loadcast.spark.types import to_struct

_REPORT_CONTEST = "contest"


@dataclass(frozen=True)
class Champion:
    """The model that answers now: its run, encoders and begin of training.

    `since`: the first hour that it has not learned from, or the begin of the test period, whichever is later.
    """

    run: str
    encoders: Encoders
    model: Model
    train_begin: datetime
    since: datetime

    def answers(self, rows: pa.Table) -> Prediction:
        """What it says of rows of mlSource, which another run has encoded."""
        raw = rows.select(self.encoders.features.schema.names)
        if LINEAR_TREND.name in raw.schema.names:  # which each training counts from its own begin
            seconds = hours_of(rows.column(schema.HOUR)) * 3_600 - epoch_seconds(self.train_begin)
            at = raw.schema.get_field_index(LINEAR_TREND.name)
            raw = raw.set_column(at, LINEAR_TREND.name, pa.array(seconds / (HOURS_PER_YEAR * 3_600)))
        return answers_of(self.model, encoded_table(raw, self.encoders), self.encoders.vector)


@dataclass(frozen=True)
class ContestTask:
    """The function that Spark runs: number of a file of mlSource → what both models say of its test rows, summed up."""

    task: ScoreTask
    champion: Champion

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in numbers_in(batches):
            parts = map(self._tally, self.task.batches(number, self.champion.encoders.features.schema.names))
            tally = functools.reduce(ContestTally.plus, parts, ContestTally.none())
            yield report(_REPORT_CONTEST, json.dumps({"file": number, **tally.as_json()}))

    def _tally(self, rows: pa.Table) -> ContestTally:
        unseen = rows.column(schema.HOUR).to_numpy() >= np.datetime64(self.champion.since, "us")
        rows = rows.filter(pa.array(unseen & rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False)))
        if not len(rows):
            return ContestTally.none()
        return ContestTally.of(rows, answers_of(self.task.model, rows, self.task.columns), self.champion.answers(rows))


def contest(spark: SparkSession, task: ScoreTask, champion: Champion) -> ContestTally:
    """What the model of a task and the champion score on the rows that neither has learned from."""
    send_by_value(champion.encoders.features)
    frame = each_number(spark, len(task.files), ContestTask(task, champion), to_struct(REPORT_SCHEMA))
    parts = [json.loads(text) for text in collect_reports(frame)[_REPORT_CONTEST]]
    tallies = (ContestTally.from_json(part) for part in sorted(parts, key=lambda part: int(part["file"])))
    return functools.reduce(ContestTally.plus, tallies, ContestTally.none())
