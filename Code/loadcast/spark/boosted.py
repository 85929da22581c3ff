"""Boosted trees grown by xgboost in Spark's tasks: the half of their family that fits.

The workers are the tasks of one barrier stage: each holds its share of the rows, and they grow the trees together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.errors import InputError
from loadcast.extras import require
from loadcast.models.boosted_family import NODES_SCHEMA
from loadcast.settings import Settings
from loadcast.spark.boosted_task import MODEL, GrowTask, parameters
from loadcast.spark.fitting import FEATURES, number_of_features
from loadcast.spark.grown import GrownTrees, read_grown
from loadcast.spark.session import is_local
from loadcast.spark.task_slots import task_slots, threads_of_task
from loadcast.spark.types import to_struct

#: Rows below which a worker more costs more than it brings: the workers agree on every level of every tree.
ROWS_OF_WORKER = 20_000
_ORDER = "order"


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


def workers_for(spark: SparkSession, rows: int) -> tuple[int, int]:
    """How many workers grow the trees, and the threads of each. Raises as fit does."""
    if not rows:
        raise InputError(
            "There are no training rows: no observed hour lies before testSplitStart. "
            "Move testSplitStart, or run ETL on more data."
        )
    slots = task_slots(spark)
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
