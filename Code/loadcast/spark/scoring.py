"""Feature rows scored file by file with the model that the service has; apart from pyspark.ml, as workers import it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.kernels.decisions import UNDECIDED, DecisionRule
from loadcast.kernels.gated_scores import Evidence
from loadcast.kernels.grid import hours_of
from loadcast.kernels.horizon_tally import TALLIED_BY_HORIZON, HorizonTally
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.tally import TALLIED, PartTally, Tally, no_tally
from loadcast.models.model import Model, Prediction, answers_of
from loadcast.spark.numbered import ROWS_PER_BATCH, each_number, numbers_in
from loadcast.spark.server_task import REPORT_SCHEMA, collect_reports, files_of, report, report_files, task_name
from loadcast.spark.types import SPARK_SCHEMA_KEY, to_struct
from loadcast.storage.parts import PartWriter
from loadcast.storage.table_files import Tables

_REPORT_TALLY, _REPORT_CHECK = "tally", "check"
_CHECKED_ROWS = 16
#: What a prediction takes over from its feature row.
_TAKEN_OVER = (schema.KEY, schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL)


#: What artefacts.info.SelfCheck is made of.
Check = dict[str, list[Any]]


class Scores(NamedTuple):
    """The tallies of the train and the test part; rows by which a service can check itself, and what the gate knows, if
    there are any.
    """

    train: PartTally
    test: PartTally
    check: Check | None
    evidence: Evidence | None


@dataclass(frozen=True)
class ScoreTask:
    """The function that Spark runs: number of a file of mlSource → its tally; the test period's rows are written.

    `files`, which lie in `source`; `columns`, the model's input in order; `predictions`, where those rows go;
    `record_columns`, what a feature record for the service holds; `has_origins`, whether each row has one of its own;
    `decisions`, the rule of the configuration.
    """

    files: tuple[str, ...]
    source: Tables
    predictions: Tables
    columns: tuple[str, ...]
    record_columns: tuple[str, ...]
    model: Model
    split: datetime
    rule: LabelRule
    has_origins: bool = False
    decisions: DecisionRule = UNDECIDED

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with PartWriter(self.predictions, task_name()) as parts:
            for number in numbers_in(batches):
                tally = self._score(number, parts)
                train, test = (part.as_json() for part in tally.parts())
                evidence = Evidence.of(*tally.outcomes()).as_json()
                content = {"file": number, "servers": tally.servers, "train": train, "test": test, "evidence": evidence}
                yield report(_REPORT_TALLY, json.dumps(content))
        yield report_files(parts)

    @property
    def schema(self) -> pa.Schema:
        """That of the predictions; they have a decision where the rule has costs."""
        fields = schema.ORIGIN_PREDICTIONS_SCHEMA if self.has_origins else schema.PREDICTIONS_SCHEMA
        return fields if self.decisions.costs is None else fields.append(pa.field(schema.DECISION, pa.int32()))

    def tested(self, number: int) -> Tally | HorizonTally:
        """The tally of a file of which the model answers the test rows alone: nothing is written."""
        tally = self._tally()
        for rows in self.batches(number):
            is_test = rows.column(schema.HOUR).to_numpy() >= np.datetime64(self.split, "us")
            labels, shares = np.ones(len(rows), dtype=np.intp), np.full((len(rows), len(schema.CLASS_NAMES)), 1.0)
            answers = answers_of(self.model, rows.filter(pa.array(is_test)), self.columns)
            labels[is_test], shares[is_test] = answers.labels, answers.probabilities
            tally.add(rows, labels, shares)
        return tally

    def _tally(self) -> Tally | HorizonTally:
        if self.has_origins:
            return HorizonTally(self.split, self.decisions)
        return Tally(self.split, self.rule, self.decisions)

    def batches(self, number: int, further: Iterable[str] = ()) -> Iterator[pa.Table]:
        """The rows of a file, some at a time, with what is tallied, the model's input and `further` columns."""
        tallied = TALLIED_BY_HORIZON if self.has_origins else TALLIED
        names = list(dict.fromkeys([*_TAKEN_OVER, *tallied, *self.columns, *further]))
        with self.source.reading(self.files[number]) as path, pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=names, use_threads=False):
                yield pa.Table.from_batches([batch])

    def _score(self, number: int, parts: PartWriter) -> Tally | HorizonTally:
        tally = self._tally()
        if number == 0:  # there is a table, were no row of the test period
            self._write(self.schema.empty_table(), parts)
        for rows in self.batches(number):
            answers = answers_of(self.model, rows, self.columns)
            tally.add(rows, *answers)
            tested = rows.column(schema.HOUR).to_numpy() >= np.datetime64(self.split, "us")
            if tested.any():
                predicted = _prediction_rows(rows, answers, self.decisions, self.schema)
                self._write(predicted.filter(pa.array(tested)), parts)
        return tally

    def check(self, number: int, server: str) -> Check:
        """Some rows of a server as the service takes them, with the model's answers, from the file that has them."""
        names = list(dict.fromkeys([*self.record_columns, *self.columns]))
        with self.source.reading(self.files[number]) as path, pq.ParquetFile(path) as file:
            batches = file.iter_batches(ROWS_PER_BATCH, columns=names, use_threads=False)
            own = [batch.filter(pc.equal(batch.column(schema.SERVER), server)) for batch in batches]
        rows = pa.Table.from_batches(own).sort_by(schema.HOUR)
        rows = rows.take(pa.array(np.unique(np.linspace(0, len(rows) - 1, _CHECKED_ROWS).astype(np.int64))))
        answers = answers_of(self.model, rows, self.columns)
        records = [
            {**record, schema.HOUR: record[schema.HOUR].strftime(schema.TIME_FORMAT)}
            for record in rows.select(self.record_columns).to_pylist()
        ]
        labels, probabilities = answers.labels.tolist(), answers.probabilities.tolist()
        return {"records": records, "predictions": labels, "probabilities": probabilities}

    def _write(self, rows: pa.Table, parts: PartWriter) -> None:
        parts.write(paths.PREDICTIONS, rows.replace_schema_metadata({SPARK_SCHEMA_KEY: to_struct(self.schema).json()}))


def score_features(spark: SparkSession, task: ScoreTask) -> Scores:
    """Score mlSource, one Spark task a file.

    The rows of a server lie in one file, as ETL writes them. Raises ArtefactError where they do not.
    """
    reports = collect_reports(each_number(spark, len(task.files), task, to_struct(REPORT_SCHEMA)))
    task.predictions.keep_only([paths.PREDICTIONS], files_of(reports))
    tallies = sorted((json.loads(text) for text in reports[_REPORT_TALLY]), key=lambda tally: int(tally["file"]))
    _check_whole([name for tally in tallies for name in tally["servers"]])
    train, test = (_together([tally[part] for tally in tallies]) for part in ("train", "test"))
    known = [Evidence.from_json(tally["evidence"]) for tally in tallies]
    evidence = functools.reduce(Evidence.plus, known) if known else None
    return Scores(train, test, _check(spark, task, tallies), evidence)


def _together(tallies: Sequence[Mapping[str, Any]]) -> PartTally:
    """All that was counted, in the order of the files: sums of losses depend on it."""
    parts = [PartTally.from_json(tally) for tally in tallies]
    return functools.reduce(PartTally.plus, parts) if parts else no_tally()


@dataclass(frozen=True)
class _CheckTask:
    """The function that Spark runs once: the rows by which a service can check itself."""

    task: ScoreTask
    number: int
    server: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in numbers_in(batches):
            yield report(_REPORT_CHECK, json.dumps(self.task.check(self.number, self.server)))


def _check(spark: SparkSession, task: ScoreTask, tallies: Sequence[Mapping[str, Any]]) -> Check | None:
    """Rows of the first server by name: the same however rows are spread over files. None where there are none."""
    holders = [(min(tally["servers"]), int(tally["file"])) for tally in tallies if tally["servers"]]
    if not holders:
        return None
    server, number = min(holders)
    reports = collect_reports(each_number(spark, 1, _CheckTask(task, number, server), to_struct(REPORT_SCHEMA)))
    check: Check = json.loads(reports[_REPORT_CHECK][0])
    return check


def _check_whole(servers: Sequence[str]) -> None:
    if len(set(servers)) != len(servers):
        raise ArtefactError(
            f"{paths.FEATURES}: found a server's rows in two files, wanted them in one, as ETL writes them. "
            "Run python Code/etl.py CONFIG again."
        )


def _prediction_rows(rows: pa.Table, answers: Prediction, decisions: DecisionRule, wanted: pa.Schema) -> pa.Table:
    """The rows as predictions."""
    columns = {name: rows.column(name) for name in _TAKEN_OVER}
    columns[schema.PREDICTION] = pa.array(answers.labels.astype(np.float64))
    for name, shares in zip(schema.PROBABILITY_COLUMNS.values(), answers.probabilities.T, strict=True):
        columns[name] = pa.array(np.ascontiguousarray(shares))
    if schema.HORIZON in wanted.names:
        columns[schema.FORECAST_ORIGIN] = origins = rows.column(schema.FORECAST_ORIGIN)
        horizons = hours_of(rows.column(schema.HOUR)) - hours_of(origins)
        columns[schema.HORIZON] = pa.array(horizons.astype(np.int32))
    decided = decisions.decide(answers.probabilities).labels
    if decided is not None:
        columns[schema.DECISION] = pa.array(decided.astype(np.int32))
    return pa.Table.from_arrays([columns[name] for name in wanted.names], schema=wanted)
