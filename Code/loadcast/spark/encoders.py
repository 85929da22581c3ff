"""String indexing, one-hot encoding and scaling: what the training rows say, kept as Spark ML models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from py4j.java_gateway import JavaGateway
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.common import _py2java
from pyspark.ml.feature import (
    OneHotEncoder,
    StandardScaler,
    StandardScalerModel,
    StringIndexer,
    StringIndexerModel,
)
from pyspark.ml.linalg import Vectors
from pyspark.ml.wrapper import JavaEstimator, JavaModel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.errors import InputError
from loadcast.kernels.training import TrainingSummary

_Model = TypeVar("_Model", bound=JavaModel)


@dataclass(frozen=True)
class Encoders:
    """The fitted models, and which categorical columns have one training level and which more."""

    string_index: PipelineModel
    one_hot: PipelineModel
    scaler: StandardScalerModel
    only_indexed: tuple[str, ...]
    for_encode: tuple[str, ...]

    def save_jobs(self, folder: Path) -> list[Callable[[], None]]:
        """The jobs that save the three models under their names."""
        models: dict[str, PipelineModel | StandardScalerModel] = {
            paths.STRING_INDEX_MODEL: self.string_index,
            paths.ONE_HOT_MODEL: self.one_hot,
            paths.SCALE_MODEL: self.scaler,
        }
        return [partial(model.write().save, str(folder / name)) for name, model in models.items()]


def make_encoders(rows: DataFrame, training: TrainingSummary) -> Encoders:
    """The models that Spark would fit on the training rows, from what the server kernel has found out about these.

    So there is no further pass over `rows`, whose schema.FEATURES_SCHEMA columns alone matter. A level not among the
    training rows gets an index of its own, and no slot. Raises InputError where there are too few training rows.
    """
    levels = {name: training.ordered_levels(name) for name in schema.CATEGORICAL_COLUMNS}
    for_encode = tuple(name for name, known in levels.items() if len(known) > 1)
    if not for_encode:
        raise InputError(
            "Found no two observed hours before testSplitStart to train on. "
            "Check trainBegin, testSplitStart and dataFile."
        )
    spark = rows.sparkSession
    string_index = PipelineModel(stages=[_make_indexer(spark, levels)])
    # The indexer's metadata names the levels, so this fit reads no data. With dropLast the extra level "unseen" has no
    # slot.
    one_hot = Pipeline(
        stages=[
            OneHotEncoder(
                inputCols=[schema.indexed(name) for name in for_encode],
                outputCols=[schema.encoded(name) for name in for_encode],
                dropLast=True,
            )
        ]
    ).fit(string_index.transform(rows))
    only_indexed = tuple(name for name in levels if name not in for_encode)
    return Encoders(string_index, one_hot, _make_scaler(spark, training), only_indexed, for_encode)


# Spark's public ways to a fitted indexer and scaler are to fit one (a pass over the data each) or, for the indexer, one
# that pads shorter lists of levels with nulls. So both are made as their estimators make them, in the JVM.


def _make_indexer(spark: SparkSession, levels: dict[str, list[str]]) -> StringIndexerModel:
    """A StringIndexerModel that has these levels per column, in index order."""
    names = list(levels)
    indexer = StringIndexer(inputCols=names, outputCols=[schema.indexed(name) for name in names])
    gateway = cast(JavaGateway, spark.sparkContext._gateway)
    labels = gateway.new_array(gateway.jvm.java.lang.String, len(names), 0)
    line_end = gateway.jvm.java.util.regex.Pattern.compile("\n")
    for place, known in enumerate(levels.values()):
        labels[place] = line_end.split("\n".join(known))  # one call: setting 100,000 levels singly takes many seconds
    return _as_fitted(spark, indexer.setHandleInvalid("keep"), StringIndexerModel, labels)


def _make_scaler(spark: SparkSession, training: TrainingSummary) -> StandardScalerModel:
    """A StandardScalerModel that has these means and deviations."""
    scaler = StandardScaler(inputCol="history", outputCol="scaledHistory", withMean=True, withStd=True)
    vectors = (_py2java(spark.sparkContext, Vectors.dense(values)) for values in (training.deviation, training.mean))
    return _as_fitted(spark, scaler, StandardScalerModel, *vectors)


def _as_fitted(spark: SparkSession, estimator: JavaEstimator[Any], kind: type[_Model], *content: object) -> _Model:
    """What estimator.fit would give, had it found `content`."""
    made = getattr(spark.sparkContext._jvm.org.apache.spark.ml.feature, kind.__name__)(estimator.uid, *content)  # type: ignore[union-attr]
    model = kind(made)
    model._resetUid(estimator.uid)
    return estimator._copyValues(model)


def encode(rows: DataFrame, encoders: Encoders) -> DataFrame:
    """The rows with their indexed, encoded and scaled columns."""
    encoded = encoders.one_hot.transform(encoders.string_index.transform(rows))
    return encoded.select("*", *_scaled_columns(encoders.scaler))


def _scaled_columns(scaler: StandardScalerModel) -> list[Column]:
    """The scaler as plain expressions: the same arithmetic as its own, without a way through vectors and back."""
    means, deviations = scaler.mean.toArray().tolist(), scaler.std.toArray().tolist()
    return [
        ((F.col(name) - F.lit(mean)) * F.lit(1.0 / deviation if deviation else 0.0)).alias(schema.scaled(name))
        for name, mean, deviation in zip(schema.HISTORY_COLUMNS, means, deviations, strict=True)
    ]
