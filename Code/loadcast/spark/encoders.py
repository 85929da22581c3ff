"""The encoders as Spark ML models, and the features encoded by them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa
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
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from loadcast import paths, schema
from loadcast.kernels.encode import Encoders, encoded_table
from loadcast.kernels.training import TrainingSummary
from loadcast.spark.server import REPORT_FILES, REPORT_SCHEMA, report, task_name
from loadcast.spark.types import to_struct
from loadcast.storage.parts import PartWriter

#: What Spark's string index calls a level that is none of the training levels.
_UNSEEN = "__unknown"
#: Where Spark looks, in a Parquet file, for the schema with its own types.
_SCHEMA_KEY = "org.apache.spark.sql.parquet.row.metadata"

_Model = TypeVar("_Model", bound=JavaModel)


@dataclass(frozen=True)
class EncoderModels:
    """The models that Spark would fit on the training rows."""

    string_index: PipelineModel
    one_hot: PipelineModel
    scaler: StandardScalerModel

    def save_jobs(self, folder: Path) -> list[Callable[[], None]]:
        """The jobs that save the three models under their names."""
        models: dict[str, PipelineModel | StandardScalerModel] = {
            paths.STRING_INDEX_MODEL: self.string_index,
            paths.ONE_HOT_MODEL: self.one_hot,
            paths.SCALE_MODEL: self.scaler,
        }
        return [partial(model.write().save, str(folder / name)) for name, model in models.items()]


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
    for place, known in enumerate(encoders.levels.values()):
        labels[place] = line_end.split("\n".join(known))  # one call: setting 100,000 levels singly takes many seconds
    one_hot = OneHotEncoder(
        inputCols=[schema.indexed(name) for name in encoders.for_encode],
        outputCols=[schema.encoded(name) for name in encoders.for_encode],
        dropLast=True,
    )
    sizes = gateway.new_array(gateway.jvm.int, len(encoders.for_encode))
    for place, name in enumerate(encoders.for_encode):
        sizes[place] = len(encoders.levels[name]) + 1
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


@dataclass(frozen=True)
class EncodeTask:
    """The function that Spark runs: number of a file of feature rows → that file, encoded, as part of mlSource."""

    files: tuple[str, ...]
    folder: str
    encoders: Encoders
    spark_schema: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with PartWriter(self.folder, task_name()) as parts:
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    self._encode(Path(self.folder, self.files[number]), parts)
        yield report(REPORT_FILES, json.dumps(parts.written))

    def _encode(self, file: Path, parts: PartWriter) -> None:
        with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as reader:
            for rows in reader:
                encoded = encoded_table(pa.Table.from_batches([rows]), self.encoders)
                parts.write(paths.FEATURES, encoded.replace_schema_metadata({_SCHEMA_KEY: self.spark_schema}))


def encode_features(spark: SparkSession, files: Sequence[str], folder: Path, encoders: Encoders) -> DataFrame:
    """Encode files of feature rows, given as paths below `folder`, one Spark task each; a frame of REPORT_SCHEMA."""
    task = EncodeTask(tuple(files), str(folder), encoders, encoded_struct(encoders).json())
    numbers = spark.range(0, len(files), 1, numPartitions=len(files))
    return numbers.mapInArrow(task, to_struct(REPORT_SCHEMA))


def encoded_struct(encoders: Encoders) -> T.StructType:
    """Spark's schema of mlSource: the columns that the models would add have the metadata that they would give."""
    fields = list(to_struct(schema.FEATURES_SCHEMA).fields)
    for name, levels in encoders.levels.items():
        label = schema.indexed(name)
        attribute = {"vals": [*levels, _UNSEEN], "name": label, "type": "nominal"}
        fields.append(T.StructField(label, T.DoubleType(), False, {"ml_attr": attribute}))
    for name in encoders.for_encode:
        levels = encoders.levels[name]
        slots = {"attrs": {"binary": [{"idx": at, "name": level} for at, level in enumerate(levels)]}}
        metadata = {"ml_attr": {**slots, "num_attrs": len(levels)}}
        fields.append(T.StructField(schema.encoded(name), VectorUDT(), True, metadata))
    fields += [T.StructField(schema.scaled(name), T.DoubleType()) for name in schema.HISTORY_COLUMNS]
    return T.StructType(fields)
