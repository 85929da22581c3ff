"""The folds of a backtest side by side: each is one Spark task, which fits and scores in its own process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import SparkSession

from loadcast.extras import missing_named
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.tally import FoldTally
from loadcast.models.registry import FitRows
from loadcast.refit import Refit, score_refit
from loadcast.spark.numbered import each_number, numbers_in
from loadcast.spark.portable import send_by_value
from loadcast.spark.server_task import REPORT_SCHEMA, collect_reports, report
from loadcast.spark.types import to_struct

_REPORT_FOLD = "fold"


@dataclass(frozen=True)
class BacktestTask:
    """The function that Spark runs: number of a refit → its tally, as a row of REPORT_SCHEMA."""

    refits: tuple[Refit, ...]
    loads: Broadcast[Loads]
    fit_rows: FitRows

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in numbers_in(batches):
            with missing_named():
                tally = score_refit(self.refits[number], self.loads.value, self.fit_rows)
            yield report(_REPORT_FOLD, json.dumps({"number": number, "tally": tally.as_json()}))


def score_refits(spark: SparkSession, refits: Sequence[Refit], loads: Loads, fit_rows: FitRows) -> list[FoldTally]:
    """The tallies of all refits, in their order. Every executor gets the loads once."""
    for refit in refits:
        send_by_value(refit.rules.features)
    shared = spark.sparkContext.broadcast(loads)
    try:
        task = BacktestTask(tuple(refits), shared, fit_rows)
        reports = collect_reports(each_number(spark, len(refits), task, to_struct(REPORT_SCHEMA)))
    finally:
        shared.unpersist()
    numbered = sorted((json.loads(text) for text in reports[_REPORT_FOLD]), key=lambda one: int(one["number"]))
    return [FoldTally.from_json(one["tally"]) for one in numbered]
