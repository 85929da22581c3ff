"""Boosted trees grown by xgboost: the half of their family that fits.

On one machine, where the rows fit, this process grows them. Else Spark's tasks do: the workers are the tasks of one
barrier stage, each holds its share of the rows, and they grow the trees together. One worker grows what this process
does, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.errors import InputError
from loadcast.extras import require
from loadcast.kernels.forest.fit import Piece, TrainingRows
from loadcast.kernels.forest.threads import side_by_side
from loadcast.kernels.row_order import row_hashes
from loadcast.models.boosted import MISSING, in_singles
from loadcast.models.boosted_family import NODES_SCHEMA
from loadcast.settings import Settings
from loadcast.spark.boosted_task import MODEL, GrowTask
from loadcast.spark.boosting import load_xgboost, parameters
from loadcast.spark.fitting import FEATURES, Fitted, TrainingTable, number_of_features
from loadcast.spark.grown import GrownTrees, read_grown
from loadcast.spark.rows_here import read_rows
from loadcast.spark.saved_folders import write_table, write_text
from loadcast.spark.session import is_local
from loadcast.spark.table_partitions import whole_files
from loadcast.spark.task_slots import task_slots, threads_here, threads_of_task
from loadcast.spark.types import to_struct

#: Rows below which a worker more costs more than it brings: the workers agree on every level of every tree.
ROWS_OF_WORKER = 20_000
_ORDER = "order"
#: Of a number of a row that this process holds: as it is read, and in two matrices of 32 bits.
_BYTES_OF_NUMBER = 16


def fit(training: DataFrame, settings: Settings) -> Callable[[str], None]:
    """Grow the trees on training rows; gives what saves them at an address.

    Raises InputError where there are no rows, ConfigError and EnvironmentNotReadyError where the tasks cannot all run
    at once, EnvironmentNotReadyError where xgboost is missing.
    """
    require("spark")
    workers, threads = workers_for(training.sparkSession, training.count())
    task = GrowTask(parameters(settings.boosted, threads), settings.boosted.num_rounds, number_of_features(training))
    shares = _shares(training, workers)
    (grown,) = shares.mapInArrow(task, f"{MODEL} binary", barrier=True).collect()
    trees = read_grown(bytes(grown[MODEL]), settings.boosted.model_dump(by_alias=True))
    return partial(_save, training.sparkSession, trees)


def fit_here(table: TrainingTable, settings: Settings) -> Fitted | None:
    """As fit, in this process; None where Spark is to: on a cluster, for too many rows, for what it has errors for.

    Raises EnvironmentNotReadyError where xgboost is missing.
    """
    if not is_local(table.spark.sparkContext.master):
        return None
    require("spark")
    threads = threads_here(table.spark)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load_xgboost)  # half a second's work, of another kind than reading
        files = whole_files(table.files, paths.FEATURES)
        rows = read_rows(table, files, lambda width: width * _BYTES_OF_NUMBER, threads)
        loaded.result()
    if rows is None:
        return None
    width = rows.n_features
    matrix, labels = _in_order(rows, threads)
    del rows
    if not np.isfinite(matrix).all() or labels.min() < 0:  # in 32 bits it need not be
        return None
    trees = read_grown(_grown_here(matrix, labels, settings, threads), settings.boosted.model_dump(by_alias=True))
    return Fitted(lambda staging: _save_here(trees, staging.folder / paths.FOREST_MODEL), width)


def _in_order(rows: TrainingRows, threads: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The matrix (n, features) and the classes (n,) from 0 of the rows, in the order that one worker has them in."""
    labels = rows.labels.astype(np.float32) - min(schema.CLASS_NAMES)
    matrix = np.empty((len(labels), rows.n_features), np.float32)
    hashes = np.empty(len(labels), np.int64)
    ends = np.cumsum([piece.rows for piece in rows.pieces])

    def fill(piece: Piece, end: int) -> None:
        first = end - piece.rows
        for block in piece.blocks(None):
            own = slice(first, first + len(block))
            matrix[own] = in_singles(block)
            hashes[own] = row_hashes(matrix[own], labels[own])
            first += len(block)

    with side_by_side(threads) as each:
        list(each(fill, rows.pieces, ends.tolist()))
    order = np.argsort(hashes, kind="stable")
    return matrix[order], labels[order]


def _grown_here(matrix: NDArray[np.float32], labels: NDArray[np.float32], settings: Settings, threads: int) -> bytes:
    """The model as xgboost's JSON.

    Its plain matrix gives the thresholds of the quantile matrix that tasks have, in two thirds of the time, and takes
    more memory.
    """
    xgboost = load_xgboost()
    rows = xgboost.DMatrix(matrix, labels, missing=float(MISSING), nthread=threads)
    grown = xgboost.train(parameters(settings.boosted, threads), rows, settings.boosted.num_rounds)
    return bytes(grown.save_raw("json"))


def workers_for(spark: SparkSession, rows: int) -> tuple[int, int]:
    """How many workers grow the trees, and the threads of each. Raises as fit does."""
    if not rows:
        raise InputError(
            "There are no training rows: no observed hour lies before testSplitStart. "
            "Move testSplitStart, or run ETL on more data."
        )
    slots = task_slots(spark, "Boosted trees")
    if is_local(spark.sparkContext.master):
        return 1, slots * threads_of_task(spark)
    return max(1, min(slots, rows // ROWS_OF_WORKER)), threads_of_task(spark)


def _shares(training: DataFrame, workers: int) -> DataFrame:
    """The rows, a partition for each worker.

    Which rows a worker has and in which order decides what it draws: both follow from the rows themselves, not from who
    read them when. Vectors are made dense: of sparse ones xgboost would take the zeros as missing.
    """
    features = vector_to_array(F.col(FEATURES), "float32").alias(FEATURES)
    label = (F.col(schema.LABEL) - min(schema.CLASS_NAMES)).cast("float").alias(schema.LABEL)
    rows = training.select(features, label)
    ordered = rows.withColumn(_ORDER, F.xxhash64(FEATURES, schema.LABEL))
    return ordered.repartition(workers, _ORDER).sortWithinPartitions(_ORDER).drop(_ORDER)


def _save_here(trees: GrownTrees, folder: Path) -> None:
    """As _save, by this process into a folder that is new."""
    write_text(folder / "metadata", json.dumps(trees.metadata))
    write_table(folder / "data", trees.nodes, to_struct(NODES_SCHEMA))


def _save(spark: SparkSession, trees: GrownTrees, address: str) -> None:
    """Write metadata and nodes as Spark ML lays out a stage: `metadata/`, `data/`."""
    about = spark.createDataFrame([(json.dumps(trees.metadata),)], "value string")
    about.coalesce(1).write.text(f"{address}/metadata")
    given = spark.range(1, numPartitions=1).mapInArrow(_Given(trees.nodes.to_batches()), to_struct(NODES_SCHEMA))
    given.write.parquet(f"{address}/data")


class _Given:
    """Gives these batches, whatever it gets."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches

    def __call__(self, _: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Mapped over the batches of a task."""
        yield from self._batches
