"""Bundles whose stages Spark has fitted and saved in other ways than loadcast's: the same answers as Spark's own.

The first variant is always tried, all of them with LOADCAST_ALL_LAYOUTS=1: each fits some twenty stages.
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import artefact_files
import classic
from bundles import as_frame, levels_of, random_features, records
from loadcast import paths, schema
from loadcast.serving.predictor import Predictor
from loadcast.storage.checksum import sha256_of_files
from spark_layouts import DAYS, as_sample_client

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
Columns = tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """What the stages are told; `is_sample`: the public sample's order, its days by name, its pickled info."""

    invalid: str
    hot_invalid: str
    drop_last: bool
    with_mean: bool
    is_sample: bool

    @property
    def history(self) -> Columns:
        own, sample = classic.HISTORY_COLUMNS, (*classic.ROLLING_COLUMNS, *classic.LAG_COLUMNS)
        return sample if self.is_sample else own

    def vector(self, only: Columns, encode: Columns) -> Columns:
        categories = (*map(schema.indexed, only), *map(schema.encoded, encode))
        return (classic.LINEAR_TREND, *categories) if self.is_sample else (*categories[::-1], classic.LINEAR_TREND)


VARIANTS = {
    "the public sample": Variant("skip", "error", True, False, True),
    "slots for unseen levels": Variant("keep", "error", False, True, False),
    "kept by the encoders": Variant("skip", "keep", True, True, False),
}


def spelt(table: pa.Table, variant: Variant) -> pa.Table:
    """The rows as the variant's Spark code has them: the sample's days are names."""
    if not variant.is_sample:
        return table
    names = [DAYS[day - 1] for day in table.column("dayofweek").to_pylist()]
    return table.set_column(table.schema.get_field_index("dayofweek"), "dayofweek", pa.array(names))


class SparkBundle:
    """Stages fitted on rows, saved in `folder`; `answers` are Spark's."""

    def __init__(self, spark: SparkSession, folder: Path, variant: Variant, table: pa.Table) -> None:
        from pyspark.ml import Pipeline
        from pyspark.ml.classification import RandomForestClassifier
        from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer

        folder.mkdir()
        self._spark, self._folder, self._variant = spark, folder, variant
        levels = levels_of(table)
        self._only = tuple(name for name in classic.CATEGORICAL_COLUMNS if len(levels[name]) < 2)
        self._encode = tuple(name for name in classic.CATEGORICAL_COLUMNS if name not in self._only)
        rows = as_frame(spark, folder.parent / f"{folder.name}.parquet", spelt(table, variant))
        indexers = [
            StringIndexer(inputCol=name, outputCol=schema.indexed(name), handleInvalid=variant.invalid)
            for name in classic.CATEGORICAL_COLUMNS
        ]
        encoders = [
            OneHotEncoder(
                inputCol=schema.indexed(name),
                outputCol=schema.encoded(name),
                handleInvalid=variant.hot_invalid,
                dropLast=variant.drop_last,
            )
            for name in self._encode
        ]
        index = Pipeline(stages=indexers).fit(rows)
        hot = Pipeline(stages=encoders).fit(index.transform(rows))
        scaler = StandardScaler(inputCol="history", outputCol="scaled", withMean=variant.with_mean, withStd=True)
        scale = scaler.fit(self._assembled(rows, variant.history, "history"))
        self._stages = (index, hot, scale)
        classifier = RandomForestClassifier(labelCol=schema.LABEL, numTrees=8, maxDepth=6, seed=42)
        self._forest = classifier.fit(self._features(rows))
        for name, model in zip(paths.BUNDLE_FOLDERS, (*self._stages, self._forest), strict=True):
            model.write().overwrite().save(f"file://{folder / name}")
        self._write_info()

    def answers(self, table: pa.Table) -> list[tuple[int, int, list[float]]]:
        """Row number, class and probabilities of each row that Spark answers."""
        from pyspark.ml.functions import vector_to_array

        numbered = spelt(table, self._variant).append_column("row", pa.array(range(table.num_rows)))
        rows = as_frame(self._spark, self._folder.parent / f"{self._folder.name}-asked.parquet", numbered)
        scored = self._forest.transform(self._features(rows))
        found = scored.select("row", "prediction", vector_to_array("probability").alias("p")).orderBy("row").collect()
        return [(row["row"], int(row["prediction"]), list(row["p"])[1:]) for row in found]

    def _features(self, rows: DataFrame) -> DataFrame:
        index, hot, scale = self._stages
        encoded = hot.transform(index.transform(rows))
        scaled = scale.transform(self._assembled(encoded, self._variant.history, "history"))
        return self._assembled(scaled, (*self._variant.vector(self._only, self._encode), "scaled"), "features")

    def _assembled(self, rows: DataFrame, columns: Columns, output: str) -> DataFrame:
        from pyspark.ml.feature import VectorAssembler

        return VectorAssembler(inputCols=list(columns), outputCol=output).transform(rows)

    def _write_info(self) -> None:
        if self._variant.is_sample:
            info: dict[str, Any] = {
                **artefact_files.PUBLIC_SAMPLE_INFO,
                "columnOnlyIndexed": [*map(schema.indexed, self._only)],
                "columnForEncode": [*map(schema.indexed, self._encode)],
            }
            (self._folder / paths.INFO).write_bytes(pickle.dumps(info))
            return
        scaled = map(schema.scaled, self._variant.history)
        artefact_files.write_info(
            self._folder,
            columnOnlyIndexed=list(self._only),
            columnForEncode=list(self._encode),
            featureColumns=[*self._variant.vector(self._only, self._encode), *scaled],
            files=sha256_of_files(self._folder, paths.BUNDLE_FOLDERS),
        )


def asked_rows() -> pa.Table:
    """Rows of which a few have a server, a week or a year that training never saw."""
    rng = np.random.default_rng(4)
    table = random_features(300, seed=2, servers=("10.0.0.1", "10.0.0.4", "10.0.0.5", "192.0.2.1"))
    for name, values in (("year", [2016] * 9 + [2015]), ("weekofyear", [22, 23, 24, 25, 53])):
        field = table.schema.field(name)
        column = pa.array(rng.choice(values, table.num_rows), field.type)
        table = table.set_column(table.schema.get_field_index(name), field, column)
    return table


@pytest.mark.parametrize("name", list(VARIANTS)[: None if os.environ.get("LOADCAST_ALL_LAYOUTS") else 1])
def test_answers_are_spark_s_bit_for_bit(spark: SparkSession, tmp_path: Path, name: str) -> None:
    variant = VARIANTS[name]
    bundle = SparkBundle(spark, tmp_path / "bundle", variant, random_features(1_500, seed=1))
    asked = asked_rows()
    expected = bundle.answers(asked)
    sent = [as_sample_client(record) if variant.is_sample else record for record in records(asked)]
    answers = list(Predictor.load(tmp_path / "bundle").score(json.dumps(sent).encode()).answers().values())
    assert [(answer["prediction"], list(answer["probability"].values())) for answer in answers] == [
        (label, shares) for _, label, shares in expected
    ]
    hours = [answer[schema.HOUR] for answer in answers]
    assert hours == [str(asked.column(schema.HOUR)[number].as_py()) for number, _, _ in expected]
    assert (len(expected) < asked.num_rows) == (variant.invalid == "skip")
