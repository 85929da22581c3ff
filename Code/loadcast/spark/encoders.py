"""The encoders as Spark ML models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from py4j.java_gateway import JavaGateway
from pyspark.ml import PipelineModel
from pyspark.ml.common import _py2java
from pyspark.ml.feature import (
    OneHotEncoder,
    OneHotEncoderModel,
    StandardScaler,
    StandardScalerModel,
    StringIndexer,
    StringIndexerModel,
)
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.ml.wrapper import JavaEstimator, JavaModel
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from loadcast import paths, schema
from loadcast.kernels.encode import Encoders
from loadcast.kernels.training import TrainingSummary
from loadcast.spark.types import to_struct

#: What Spark's string index calls a level that is none of the training levels.
_UNSEEN = "__unknown"

_Model = TypeVar("_Model", bound=JavaModel)


@dataclass(frozen=True)
class EncoderModels:
    """The models that Spark would fit on the training rows."""

    string_index: PipelineModel
    one_hot: PipelineModel
    scaler: StandardScalerModel

    def save_jobs(self, address: Callable[[str], str]) -> list[Callable[[], None]]:
        """The jobs that save the three models, each at the `address` of its name."""
        models: dict[str, PipelineModel | StandardScalerModel] = {
            paths.STRING_INDEX_MODEL: self.string_index,
            paths.ONE_HOT_MODEL: self.one_hot,
            paths.SCALE_MODEL: self.scaler,
        }
        return [partial(model.write().save, address(name)) for name, model in models.items()]


def encoder_models(spark: SparkSession, encoders: Encoders, training: TrainingSummary) -> EncoderModels:
    """The models for what the server kernel has found out about the training rows.

    Spark's public ways to a fitted model are to fit one, a pass over the data each, or, for the indexer, one that pads
    shorter lists of levels with nulls. So they are made here as their estimators make them, in the JVM. A level not
    among the training rows has an index of its own (handleInvalid keep), and no slot (dropLast).
    """
    gateway = cast(JavaGateway, spark.sparkContext._gateway)
    names = list(encoders.levels)
    indexer = StringIndexer(inputCols=names, outputCols=[schema.indexed(name) for name in names], handleInvalid="keep")
    labels = gateway.new_array(gateway.jvm.java.lang.String, len(names), 0)
    line_end = gateway.jvm.java.util.regex.Pattern.compile("\n")
    for index, known in enumerate(encoders.levels.values()):
        labels[index] = line_end.split("\n".join(known))  # one call: setting 100,000 levels singly takes many seconds
    one_hot = OneHotEncoder(
        inputCols=[schema.indexed(name) for name in encoders.for_encode],
        outputCols=[schema.encoded(name) for name in encoders.for_encode],
        dropLast=True,
    )
    sizes = gateway.new_array(gateway.jvm.int, len(encoders.for_encode))
    for index, name in enumerate(encoders.for_encode):
        sizes[index] = len(encoders.levels[name]) + 1
    scaler = StandardScaler(inputCol="history", outputCol="scaledHistory", withMean=True, withStd=True)
    vectors = (_py2java(spark.sparkContext, Vectors.dense(values)) for values in (training.deviation, training.mean))
    return EncoderModels(
        PipelineModel(stages=[_as_fitted(gateway, indexer, StringIndexerModel, labels)]),
        PipelineModel(stages=[_as_fitted(gateway, one_hot, OneHotEncoderModel, sizes)]),
        _as_fitted(gateway, scaler, StandardScalerModel, *vectors),
    )


def _as_fitted(gateway: JavaGateway, estimator: JavaEstimator[Any], kind: type[_Model], *content: object) -> _Model:
    """What estimator.fit would give, had it found `content`."""
    made = getattr(gateway.jvm.org.apache.spark.ml.feature, kind.__name__)(estimator.uid, *content)
    model = kind(made)
    model._resetUid(estimator.uid)
    return estimator._copyValues(model)


def encoded_struct(encoders: Encoders) -> T.StructType:
    """Spark's schema of mlSource: the columns that the models would add have the metadata that they would give."""
    fields = list(to_struct(encoders.features.schema).fields)
    for name, levels in encoders.levels.items():
        label = schema.indexed(name)
        attribute = {"vals": [*levels, _UNSEEN], "name": label, "type": "nominal"}
        fields.append(T.StructField(label, T.DoubleType(), False, {"ml_attr": attribute}))
    for name in encoders.for_encode:
        levels = encoders.levels[name]
        slots = {"attrs": {"binary": [{"idx": at, "name": level} for at, level in enumerate(levels)]}}
        metadata = {"ml_attr": {**slots, "num_attrs": len(levels)}}
        fields.append(T.StructField(schema.encoded(name), VectorUDT(), True, metadata))
    fields += [T.StructField(schema.scaled(name), T.DoubleType()) for name in encoders.features.scaled]
    return T.StructType(fields)
