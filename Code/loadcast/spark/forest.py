"""The random forest grown by Spark ML: the half of its family that fits."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.ml.classification import RandomForestClassifier
from pyspark.sql import DataFrame

from loadcast import schema
from loadcast.model_settings import ForestSettings
from loadcast.settings import Settings
from loadcast.spark.fitting import FEATURES, number_of_features

MOST_FEATURES_DRAWN = 36


def fit(training: DataFrame, settings: Settings) -> Callable[[str], None]:
    """Grow the forest on training rows; gives what saves it at an address.

    The grown forest stays in the JVM: wrapping it takes pyspark a thousand small questions about its parameters, half
    a second, and only to save it.
    """
    grown = _forest(training, settings.forest)._fit_java(training)
    return lambda address: grown.save(address)


def _forest(training: DataFrame, settings: ForestSettings) -> RandomForestClassifier:
    return RandomForestClassifier(
        featuresCol=FEATURES,
        labelCol=schema.LABEL,
        numTrees=settings.num_trees,
        maxDepth=settings.max_depth,
        seed=settings.seed,
        maxBins=settings.max_bins,
        featureSubsetStrategy=feature_subset(settings.feature_subset_strategy, number_of_features(training)),
        cacheNodeIds=True,
        maxMemoryInMB=512,
    )


def feature_subset(strategy: str, number: int) -> str:
    """What Spark is told for a strategy, with this number of features.

    `auto`, here, is a third of the features, at most 36. Spark's own `auto`, the square root, mostly draws one-hot
    slots, which outnumber the lags; more than 36 costs time and wins nothing (Docs/BENCHMARKS.md).
    """
    return str(min(-(-number // 3), MOST_FEATURES_DRAWN)) if strategy == "auto" else strategy
