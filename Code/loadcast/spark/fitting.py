"""What every family of models is fitted on: training rows with their features put together as one vector."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, cast

from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.models.model import ModelFamily
from loadcast.settings import Settings
from loadcast.spark.session import is_local

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


def fitting_of(family: ModelFamily) -> Callable[[DataFrame, Settings], Save]:
    """The half of a family that fits. The module that holds it imports pyspark.ml."""
    module, _, name = family.fitting.partition(":")
    return cast("Callable[[DataFrame, Settings], Save]", getattr(importlib.import_module(module), name))
