"""The random forest: features put together, grown, and asked for predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from pyspark.ml.classification import RandomForestClassificationModel, RandomForestClassifier
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.kernels.features.baseline import BASELINE
from loadcast.settings import ForestSettings

FEATURES = "features"
MOST_FEATURES_DRAWN = 36

#: What the naive forecasts are made of.
NAIVE_INPUTS = tuple(feature.name for feature in BASELINE)
_DESCRIBED = (schema.KEY, schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL)

#: Four values, so that the forest has a place for class 3 even where the training rows have none (class 0 never
#: occurs).
_LABEL_METADATA: dict[str, Any] = {"ml_attr": {"type": "nominal", "num_vals": len(schema.CLASS_NAMES) + 1}}


def load_features(spark: SparkSession, path: str, columns: Sequence[str]) -> DataFrame:
    """mlSource rows with `columns` put together as the feature vector; the label says how many classes there are.

    The vector's metadata would call each one-hot slot a categorical feature of two levels, and Spark counts those
    several times slower than numbers. A threshold between 0 and 1 splits them just the same, so it is left out.
    """
    rows = VectorAssembler(inputCols=list(columns), outputCol=FEATURES).transform(spark.read.parquet(path))
    size = rows.schema[FEATURES].metadata["ml_attr"]["num_attrs"]
    features = F.col(FEATURES).alias(FEATURES, metadata={"ml_attr": {"num_attrs": size}})
    label = F.col(schema.LABEL).cast("double").alias(schema.LABEL, metadata=_LABEL_METADATA)
    return rows.select(*_DESCRIBED[:-1], label, *NAIVE_INPUTS, features)


def is_test(split: datetime) -> Column:
    """Whether a row is in the test period."""
    return F.col(schema.HOUR) >= F.lit(split)


def training_rows(rows: DataFrame, split: datetime) -> DataFrame:
    """The observed rows before the test period."""
    return rows.filter(~is_test(split) & F.col(schema.OBSERVED))


def fit_forest(training: DataFrame, settings: ForestSettings) -> RandomForestClassificationModel:
    """Grow the forest on training rows."""
    forest = RandomForestClassifier(
        featuresCol=FEATURES,
        labelCol=schema.LABEL,
        numTrees=settings.num_trees,
        maxDepth=settings.max_depth,
        seed=settings.seed,
        maxBins=settings.max_bins,
        featureSubsetStrategy=feature_subset(settings.feature_subset_strategy, _size_of(training)),
        cacheNodeIds=True,
        maxMemoryInMB=512,
    )
    return cast(RandomForestClassificationModel, forest.fit(training))


def feature_subset(strategy: str, number: int) -> str:
    """What Spark is told for a strategy, with this number of features.

    `auto`, here, is a third of the features, at most 36. Spark's own `auto`, the square root, mostly draws one-hot
    slots, which outnumber the lags; more than 36 costs time and wins nothing (Docs/BENCHMARKS.md).
    """
    return str(min(-(-number // 3), MOST_FEATURES_DRAWN)) if strategy == "auto" else strategy


def _size_of(rows: DataFrame) -> int:
    return int(rows.schema[FEATURES].metadata["ml_attr"]["num_attrs"])


def save_model(model: RandomForestClassificationModel, path: str) -> None:
    """Save the forest."""
    model.write().save(path)


@contextmanager
def predict(model: RandomForestClassificationModel, rows: DataFrame) -> Iterator[DataFrame]:
    """The rows with prediction and one probability column for each class, kept while the block runs."""
    predicted = model.transform(rows)
    probability = vector_to_array(F.col(model.getProbabilityCol()))
    columns = [probability[label].alias(name) for label, name in schema.PROBABILITY_COLUMNS.items()]
    kept = predicted.select(*_DESCRIBED, *NAIVE_INPUTS, schema.PREDICTION, *columns).persist()
    try:
        yield kept
    finally:
        kept.unpersist()


def write_predictions(predicted: DataFrame, split: datetime, path: str) -> None:
    """Write the test period's predictions."""
    tested = predicted.filter(is_test(split)).withColumn(schema.LABEL, F.col(schema.LABEL).cast("int"))
    tested.select(*schema.PREDICTION_COLUMNS).coalesce(1).write.parquet(path)
