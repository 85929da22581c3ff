"""What every family of models is fitted on: training rows with their features put together as one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.models.model import ModelFamily
from loadcast.models.registry import named
from loadcast.settings import Settings
from loadcast.spark.session import is_local
from loadcast.storage.staging import Staging
from loadcast.storage.table_files import Tables

FEATURES = "features"
Save = Callable[[str], None]

#: Four values, so that a model has a place for class 3 even where the training rows have none (class 0 never occurs).
_LABEL_METADATA: dict[str, Any] = {"ml_attr": {"type": "nominal", "num_vals": len(schema.CLASS_NAMES) + 1}}


def training_rows(spark: SparkSession, path: str, columns: Sequence[str], split: datetime) -> DataFrame:
    """mlSource's observed rows before `split`: `columns` put together as the vector FEATURES, and the label.

    The vector's metadata would call each one-hot slot a categorical feature of two levels, and Spark counts those
    several times slower than numbers. A threshold between 0 and 1 splits them just the same, so it is left out.

    On one machine the rows are read now, and kept: the forest goes over them four times before it has its own form of
    them. On a cluster they are read each time, since what an executor keeps is lost with it.
    """
    rows = VectorAssembler(inputCols=list(columns), outputCol=FEATURES).transform(spark.read.parquet(path))
    size = rows.schema[FEATURES].metadata["ml_attr"]["num_attrs"]
    features = F.col(FEATURES).alias(FEATURES, metadata={"ml_attr": {"num_attrs": size}})
    label = F.col(schema.LABEL).cast("double").alias(schema.LABEL, metadata=_LABEL_METADATA)
    # The label says how many classes there are.
    chosen = rows.select(schema.HOUR, schema.OBSERVED, label, features)
    observed = chosen.filter((F.col(schema.HOUR) < F.lit(split)) & F.col(schema.OBSERVED))
    return observed.localCheckpoint() if is_local(spark.sparkContext.master) else observed


def number_of_features(rows: DataFrame) -> int:
    """How many numbers the vector FEATURES has."""
    return int(rows.schema[FEATURES].metadata["ml_attr"]["num_attrs"])


@dataclass(frozen=True)
class TrainingTable:
    """mlSource at an address, to be fitted on: `columns` put together as in training_rows, rows before `split`.

    `files` is where its files lie for this process.
    """

    spark: SparkSession
    address: str
    columns: tuple[str, ...]
    split: datetime
    files: Tables


class Fitted(NamedTuple):
    """What saves a fitted model in a run that nobody reads yet, and how many features it takes."""

    save: Callable[[Staging], None]
    n_features: int


def fit(family: ModelFamily, table: TrainingTable, settings: Settings) -> Fitted:
    """Fit a model of the family: in this process where it can and will, else by Spark."""
    if family.fit_here is not None:
        here: Callable[[TrainingTable, Settings], Fitted | None] = named(family.fit_here)
        if fitted := here(table, settings):
            return fitted
    rows = training_rows(table.spark, table.address, table.columns, table.split)
    save = fitting_of(family)(rows, settings)
    return Fitted(lambda staging: save(staging.address(paths.FOREST_MODEL)), number_of_features(rows))


def fitting_of(family: ModelFamily) -> Callable[[DataFrame, Settings], Save]:
    """The half of a family that fits. The module that holds it imports pyspark.ml."""
    return cast("Callable[[DataFrame, Settings], Save]", named(family.fitting))
