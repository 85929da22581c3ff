"""The random forest: features put together, grown, and asked for predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.ml.classification import RandomForestClassificationModel, RandomForestClassifier
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from loadcast import schema
from loadcast.settings import ForestSettings

FEATURES = "features"

#: Four values, so that the forest has a place for class 3 even where the training rows have none (class 0 never occurs).
_LABEL_METADATA: dict[str, Any] = {"ml_attr": {"type": "nominal", "num_vals": len(schema.CLASS_NAMES) + 1}}


def assemble(rows: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The rows with their feature vector; the label says how many classes there are."""
    vectors = VectorAssembler(inputCols=list(columns), outputCol=FEATURES).transform(rows)
    return vectors.withColumn(schema.LABEL, F.col(schema.LABEL).cast("double").alias(schema.LABEL, metadata=_LABEL_METADATA))


def fit_forest(training: DataFrame, settings: ForestSettings) -> RandomForestClassificationModel:
    """Grow the forest on assembled training rows."""
    return RandomForestClassifier(
        featuresCol=FEATURES,
        labelCol=schema.LABEL,
        numTrees=settings.num_trees,
        maxDepth=settings.max_depth,
        seed=settings.seed,
        maxBins=settings.max_bins,
        featureSubsetStrategy=settings.feature_subset_strategy,
        cacheNodeIds=True,
        maxMemoryInMB=1024,
    ).fit(training)


def predict(model: RandomForestClassificationModel, rows: DataFrame) -> DataFrame:
    """The rows with prediction and one probability column for each class."""
    predicted = model.transform(rows)
    probability = vector_to_array(F.col(model.getProbabilityCol()))
    return predicted.select("*", *(probability[label].alias(name) for label, name in schema.PROBABILITY_COLUMNS.items()))
