"""Folds of backtests side by side: each is one Spark task, which fits and scores in its own process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import SparkSession

from loadcast.extras import missing_named
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.tally import FoldTally
from loadcast.models.registry import FitVariants
from loadcast.refit import Refit, score_variants
from loadcast.settings import Settings
from loadcast.spark.numbered import each_number, numbers_in
from loadcast.spark.portable import send_by_value
from loadcast.spark.server_task import REPORT_SCHEMA, collect_reports, report
from loadcast.spark.types import to_struct

_REPORT_FOLD = "fold"


@dataclass(frozen=True)
class Piece:
    """What a task does: score the settings of `variants` on a fold; see refit.score_variants."""

    refit: Refit
    variants: tuple[Settings, ...]
    every_forecast: bool = False


#: Scores pieces, each in a task: the tallies of each, in their order. Fit for several threads.
Scorer = Callable[[Sequence[Piece]], list[list[FoldTally]]]


@dataclass(frozen=True)
class BacktestTask:
    """The function that Spark runs: number of a piece → its tallies, as a row of REPORT_SCHEMA."""

    pieces: tuple[Piece, ...]
    loads: Broadcast[Loads]
    fit: FitVariants

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in numbers_in(batches):
            piece = self.pieces[number]
            with missing_named():
                tallies = score_variants(piece.refit, self.loads.value, self.fit, piece.variants, piece.every_forecast)
            content = {"number": number, "tallies": [tally.as_json() for tally in tallies]}
            yield report(_REPORT_FOLD, json.dumps(content))


@contextmanager
def scoring(spark: SparkSession, loads: Loads, fit: FitVariants) -> Iterator[Scorer]:
    """A function that scores pieces on these loads, which every executor gets once."""
    shared = spark.sparkContext.broadcast(loads)

    def score(pieces: Sequence[Piece]) -> list[list[FoldTally]]:
        for piece in pieces:
            send_by_value(piece.refit.rules.features)
        task = BacktestTask(tuple(pieces), shared, fit)
        reports = collect_reports(each_number(spark, len(pieces), task, to_struct(REPORT_SCHEMA)))
        numbered = sorted((json.loads(text) for text in reports[_REPORT_FOLD]), key=lambda one: int(one["number"]))
        return [[FoldTally.from_json(tally) for tally in one["tallies"]] for one in numbered]

    try:
        yield score
    finally:
        shared.unpersist()
