"""The encoder models that we make, against those that Spark fits on the same training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import classic
from bundles import random_features
from loadcast import paths, schema
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.encode import Encoders, encoded_table, encoders_of
from loadcast.kernels.features import CLASSIC
from loadcast.kernels.training import combine, summarize

if TYPE_CHECKING:
    from pyspark.ml import PipelineModel
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from loadcast.spark.encoders import EncoderModels

pytestmark = pytest.mark.spark

LONE, LATE = "192.0.2.1", "2001:db8::1"
SPLIT = pd.Timestamp(2016, 6, 20)
HISTORY = list(classic.HISTORY_COLUMNS)


@dataclass(frozen=True)
class Transformed:
    """The columns that models add: their schema and their values by name."""

    schema: StructType
    columns: dict[str, tuple[Any, ...]]

    @property
    def scaled(self) -> np.ndarray:
        return np.array([vector.toArray() for vector in self.columns["scaledHistory"]])


@dataclass(frozen=True)
class Case:
    """Models made and fitted of the same training rows, and what each does to all rows."""

    features: pa.Table
    encoders: Encoders
    made: EncoderModels
    fitted: EncoderModels
    by_made: Transformed
    by_fitted: Transformed


def random_rows(servers: Sequence[str], number: int) -> pa.Table:
    """Random rows, the training rows first: some columns have one level, LONE has one training row, LATE has none."""
    table = random_features(number, seed=3).to_pandas()
    training = table[schema.OBSERVED] & (table[schema.HOUR] < SPLIT)
    table = pd.concat([table[training], table[~training]], ignore_index=True)
    turns = [servers[row % len(servers)] for row in range(number)]
    table[schema.SERVER] = [LONE, *turns[1:-1], LATE]
    return pa.Table.from_pandas(table, schema=classic.FEATURES_SCHEMA, preserve_index=False)


def fit(training: DataFrame, encoders: Encoders) -> EncoderModels:
    """The same models, each fitted by Spark."""
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler

    from loadcast.spark.encoders import EncoderModels

    names, hot = list(classic.CATEGORICAL_COLUMNS), encoders.for_encode
    indexer = StringIndexer(
        inputCols=names,
        outputCols=[schema.indexed(name) for name in names],
        handleInvalid="keep",
    )
    assert indexer.getStringOrderType() == "frequencyDesc"
    string_index = Pipeline(stages=[indexer]).fit(training)
    one_hot = OneHotEncoder(
        inputCols=[schema.indexed(name) for name in hot],
        outputCols=[schema.encoded(name) for name in hot],
        dropLast=True,
    )
    history = VectorAssembler(inputCols=HISTORY, outputCol="history").transform(training)
    scaler = StandardScaler(inputCol="history", outputCol="scaledHistory", withMean=True, withStd=True)
    return EncoderModels(
        string_index, Pipeline(stages=[one_hot]).fit(string_index.transform(training)), scaler.fit(history)
    )


def transform(models: EncoderModels, rows: DataFrame) -> Transformed:
    from pyspark.ml.feature import VectorAssembler

    encoded = models.one_hot.transform(models.string_index.transform(rows))
    result = models.scaler.transform(VectorAssembler(inputCols=HISTORY, outputCol="history").transform(encoded))
    result = result.select([name for name in result.columns if name not in (*rows.columns, "history")])
    return Transformed(result.schema, dict(zip(result.columns, zip(*result.collect(), strict=True), strict=True)))


CASES = {
    "a few servers": ([f"10.0.0.{i}" for i in range(1, 9)], 600),
    "3,000 servers": ([f"10.1.{i >> 8}.{i & 255}" for i in range(3000)], 6_000),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, spark: SparkSession) -> Case:
    from loadcast.spark.encoders import encoder_models

    features = random_rows(*CASES[request.param])
    parts = [features.slice(begin, 250) for begin in range(0, features.num_rows, 250)]
    summary = combine(
        [summarize(part, CLASSIC, epoch_seconds(SPLIT.to_pydatetime())).as_json() for part in parts], CLASSIC
    )
    encoders = encoders_of(CLASSIC, summary)
    rows = spark.createDataFrame(features)
    training = rows.filter(rows[schema.OBSERVED] & (rows[schema.HOUR] < SPLIT))
    made, fitted = encoder_models(spark, encoders, summary), fit(training, encoders)
    return Case(features, encoders, made, fitted, transform(made, rows), transform(fitted, rows))


def stage(pipeline: PipelineModel) -> Any:
    (only,) = pipeline.stages
    return only


def params(model: Any) -> dict[str, Any]:
    """What was set; the others have their defaults."""
    return {param.name: model.getOrDefault(param) for param in model.params if model.isSet(param)}


def assert_same(actual: EncoderModels, wanted: EncoderModels) -> None:
    assert stage(actual.string_index).labelsArray == stage(wanted.string_index).labelsArray
    assert list(stage(actual.one_hot).categorySizes) == list(stage(wanted.one_hot).categorySizes)
    assert params(stage(actual.string_index)) == params(stage(wanted.string_index))
    assert params(stage(actual.one_hot)) == params(stage(wanted.one_hot))
    assert params(actual.scaler) == params(wanted.scaler)
    for mine, fitted in ((actual.scaler.mean, wanted.scaler.mean), (actual.scaler.std, wanted.scaler.std)):
        np.testing.assert_allclose(mine.toArray(), fitted.toArray(), rtol=1e-12, atol=0)


def test_the_cases_hold_what_they_should(case: Case) -> None:
    frame = case.features.to_pandas()
    training = frame[frame[schema.OBSERVED] & (frame[schema.HOUR] < SPLIT)]
    counts = training[schema.SERVER].value_counts()
    assert counts[LONE] == 1
    assert counts.duplicated().any()  # ties
    assert set(frame[schema.SERVER]) - set(counts.index) == {LATE}
    assert case.encoders.only_indexed == ("year", "month", "Holiday")
    assert case.encoders.scale[-1] == 0


def test_made_models_are_as_the_fitted_ones(case: Case) -> None:
    assert_same(case.made, case.fitted)


def test_made_models_do_to_rows_what_fitted_ones_do(case: Case) -> None:
    assert case.by_made.schema == case.by_fitted.schema  # StructField compares metadata, too
    for name in set(case.by_fitted.columns) - {"scaledHistory"}:
        assert case.by_made.columns[name] == case.by_fitted.columns[name]
    np.testing.assert_allclose(case.by_made.scaled, case.by_fitted.scaled, rtol=1e-9, atol=1e-12)


def test_rows_encoded_by_the_kernel_are_as_the_models_encode_them(case: Case) -> None:
    actual, wanted = encoded_table(case.features, case.encoders), case.by_made.columns
    for name in map(schema.indexed, classic.CATEGORICAL_COLUMNS):
        assert tuple(actual.column(name).to_pylist()) == wanted[name]
    for name in map(schema.encoded, case.encoders.for_encode):
        slots = [(vector["size"], vector["indices"], vector["values"]) for vector in actual.column(name).to_pylist()]
        assert slots == [(vector.size, vector.indices.tolist(), vector.values.tolist()) for vector in wanted[name]]
    scaled = np.column_stack([actual.column(schema.scaled(name)).to_numpy() for name in HISTORY])
    assert np.array_equal(scaled, case.by_made.scaled)


def test_the_schema_of_encoded_rows_is_the_one_that_the_models_give(case: Case) -> None:
    from loadcast.spark.encoders import encoded_struct

    actual = encoded_struct(case.encoders)
    names = [field.name for field in case.by_fitted.schema if field.name != "scaledHistory"]
    assert len(names) == len(classic.CATEGORICAL_COLUMNS) + len(case.encoders.for_encode)
    assert [actual[name] for name in names] == [case.by_fitted.schema[name] for name in names]


def test_made_models_are_saved_and_loaded_again(case: Case, tmp_path: Path) -> None:
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import StandardScalerModel

    from loadcast.spark.encoders import EncoderModels

    for job in case.made.save_jobs(lambda name: str(tmp_path / name)):
        job()
    loaded = EncoderModels(
        PipelineModel.load(str(tmp_path / paths.STRING_INDEX_MODEL)),
        PipelineModel.load(str(tmp_path / paths.ONE_HOT_MODEL)),
        StandardScalerModel.load(str(tmp_path / paths.SCALE_MODEL)),
    )
    assert_same(loaded, case.fitted)
    assert (loaded.scaler.mean, loaded.scaler.std) == (case.made.scaler.mean, case.made.scaler.std)
