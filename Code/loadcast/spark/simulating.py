"""Rows of simulated cutoffs, made server by server once the fleet's bounds are known; apart from pyspark.ml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from loadcast import schema
from loadcast.kernels.grid import WORK_SLOTS, grid_of_loads
from loadcast.kernels.simulation.tables import Simulation
from loadcast.kernels.training import TrainingSummary, combine, summarize
from loadcast.spark.numbered import each_number, numbers_in
from loadcast.spark.server_task import (
    REPORT_SCHEMA,
    REPORT_TRAINING,
    UNENCODED,
    collect_reports,
    files_of,
    report,
    report_files,
    task_name,
)
from loadcast.spark.types import to_struct
from loadcast.storage.parts import PartWriter
from loadcast.storage.table_files import Tables


@dataclass(frozen=True)
class SimulationTask:
    """The function that Spark runs: number of a file of loads (schema.LOADS_SCHEMA) → feature rows, as UNENCODED."""

    files: tuple[str, ...]
    tables: Tables
    simulation: Simulation

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        features, split = self.simulation.features, self.simulation.split * 3_600
        with PartWriter(self.tables, task_name()) as parts:
            for number in numbers_in(batches):
                for loads in self._portions(number):
                    for rows in self.simulation.tables(grid_of_loads(loads)):
                        parts.write(UNENCODED, rows)
                        yield report(REPORT_TRAINING, summarize(rows, features, split).as_json())
        yield report_files(parts)

    def _portions(self, number: int) -> Iterator[pa.Table]:
        """The rows of some whole servers at a time."""
        with self.tables.reading(self.files[number]) as path, pq.ParquetFile(path) as file:
            rows = file.read(schema.LOADS_SCHEMA.names)
        if not len(rows):
            return
        servers = rows.column(schema.SERVER).combine_chunks().dictionary_encode().indices.to_numpy()
        ends = np.append(np.flatnonzero(np.diff(servers)) + 1, len(rows))
        begin = 0
        for end, after in zip(ends.tolist(), [*ends[1:].tolist(), None], strict=True):
            if after is None or after - begin > WORK_SLOTS:
                yield rows.slice(begin, end - begin).combine_chunks()
                begin = end


def simulate(
    spark: SparkSession, simulation: Simulation, files: Sequence[str], tables: Tables
) -> tuple[list[str], TrainingSummary]:
    """Replace the files of loads by those of feature rows, one Spark task each; gives these, and what encoders need."""
    task = SimulationTask(tuple(files), tables, simulation)
    reports = collect_reports(each_number(spark, len(files), task, to_struct(REPORT_SCHEMA)))
    written = files_of(reports)
    tables.keep_only([UNENCODED], written)
    return sorted(written), combine(reports[REPORT_TRAINING], simulation.features)
