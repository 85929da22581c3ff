"""String indexing, one-hot encoding and scaling: fitted on the training rows, kept as Spark ML models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import (
    OneHotEncoder,
    StandardScaler,
    StandardScalerModel,
    StringIndexer,
    StringIndexerModel,
    VectorAssembler,
)
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from loadcast import paths, schema
from loadcast.errors import InputError


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


def fit_encoders(training: DataFrame) -> Encoders:
    """Fit on training rows with schema.FEATURES_SCHEMA columns.

    A level not among them gets an index of its own, and no slot.
    """
    columns = list(schema.CATEGORICAL_COLUMNS)
    indexer = StringIndexer(inputCols=columns, outputCols=[schema.indexed(name) for name in columns])
    string_index = Pipeline(stages=[indexer.setHandleInvalid("keep")]).fit(training)
    levels = dict(zip(columns, cast(StringIndexerModel, string_index.stages[0]).labelsArray, strict=True))
    for_encode = tuple(name for name in columns if len(levels[name]) > 1)
    if not for_encode:
        raise InputError(
            "Found no two observed hours before testSplitStart to train on. "
            "Check trainBegin, testSplitStart and dataFile."
        )
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
    ).fit(string_index.transform(training))
    history = VectorAssembler(inputCols=list(schema.HISTORY_COLUMNS), outputCol="history")
    scaler = StandardScaler(inputCol="history", outputCol="scaledHistory", withMean=True, withStd=True)
    only_indexed = tuple(name for name in columns if name not in for_encode)
    return Encoders(string_index, one_hot, scaler.fit(history.transform(training)), only_indexed, for_encode)


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
