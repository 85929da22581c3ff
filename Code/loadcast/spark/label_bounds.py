"""Bounds of classes that are learned: exact quantiles of the fleet's hours, counted file by file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow.parquet as pq
from pyarrow import RecordBatch, Table
from pyspark.sql import SparkSession

from loadcast import schema
from loadcast.kernels.buckets import Float64s
from loadcast.kernels.grid import hours_of
from loadcast.kernels.label_history import Counts, LabelHistory
from loadcast.kernels.labels import LabelQuantiles, LabelRule
from loadcast.kernels.quantiles import ROOT, Prefixes, count_prefixes, quantiles
from loadcast.spark.numbered import ROWS_PER_BATCH, each_number, numbers_in
from loadcast.spark.server_task import REPORT_SCHEMA, collect_reports, report
from loadcast.spark.types import to_struct
from loadcast.storage.table_files import Tables

_REPORT_PREFIXES = "prefixes"
_COLUMNS = [schema.HOUR, schema.OBSERVED, schema.PEAK_LOAD]


@dataclass(frozen=True)
class PrefixTask:
    """The function that Spark runs: number of a file of feature rows → counts of its peaks' bits, for quantiles."""

    files: tuple[str, ...]
    tables: Tables
    until_hour: int
    level: int = 1
    prefixes: Prefixes = ROOT

    def __call__(self, batches: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
        for number in numbers_in(batches):
            yield report(_REPORT_PREFIXES, json.dumps(list(self._count(number).items())))

    def _known_peaks(self, rows: Table) -> Float64s:
        """As kernels.label_history.known_peaks."""
        known = hours_of(rows.column(schema.HOUR)) < self.until_hour
        known &= rows.column(schema.OBSERVED).to_numpy(zero_copy_only=False)
        peaks: Float64s = rows.column(schema.PEAK_LOAD).to_numpy()[known]
        return peaks

    def _count(self, number: int) -> Counts:
        counts: Counts = Counter()
        with self.tables.reading(self.files[number]) as path, pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=_COLUMNS):
                peaks = self._known_peaks(Table.from_batches([batch]))
                counts.update(count_prefixes(peaks, self.level, self.prefixes))
        return counts


def learn_rule(
    spark: SparkSession, asked: LabelQuantiles, histories: Sequence[str], files: Sequence[str], tables: Tables
) -> LabelRule:
    """The rule that the fleet's hours before the test period teach.

    `histories` are the server tasks' reports (LabelHistory.as_json), `files` the feature rows that they wrote, as paths
    in `tables`. Raises InputError where no hour was observed.
    """
    history = LabelHistory.from_json(histories)
    task = PrefixTask(tuple(files), tables, asked.until_hour)

    def count(level: int, prefixes: Prefixes) -> Counts:
        if level == 1:
            return history.counts
        part = replace(task, level=level, prefixes=prefixes)
        counts: Counts = Counter()
        for text in collect_reports(each_number(spark, len(files), part, to_struct(REPORT_SCHEMA)))[_REPORT_PREFIXES]:
            counts.update(dict(json.loads(text)))
        return counts

    return asked.rule(quantiles(count, (asked.low, asked.high)), history.own)
