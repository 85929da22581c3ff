"""The service's kernels and bundle reader against Spark ML itself: the same classes and probabilities, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

import classic
import reference
from bundles import random_features, spark_scores, train_bundle
from loadcast import paths, schema
from loadcast.models import walk
from loadcast.models.forest import Forest, build_forest, classes, probabilities, votes
from loadcast.models.forest_family import forest_importance, node_table
from loadcast.models.saved import SavedFiles, SavedModel, read_saved
from loadcast.serving.bundle import Bundle, load_bundle
from loadcast.serving.predictor import Predictor
from reference import feature_matrix

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Rows that Spark scores beside the service; LOADCAST_PARITY_ROWS=1000000 for the full number.
PARITY_ROWS = int(os.environ.get("LOADCAST_PARITY_ROWS", "500"))

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # June 2016 alone: every other month, year and holiday is an unseen level.
    return train_bundle(spark, tmp_path_factory.mktemp("parity") / "bundle", random_features(6_000, seed=1))


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def replaced(table: pa.Table, name: str, values: object) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def split_thresholds(forest: Forest, feature: int) -> np.ndarray:
    at = np.isfinite(forest.threshold) & (forest.feature == feature) & (forest.categories == 0)
    return np.unique(forest.threshold[at])


def hard_rows(bundle: Bundle, n: int) -> pa.Table:
    """Rows with known and unseen levels, and values at and next to the forest's thresholds."""
    rng = np.random.default_rng(3)
    table = random_features(n, seed=2, servers=("10.0.0.1", "10.0.0.4", "192.0.2.1", "2001:db8::1"))
    table = replaced(table, "year", rng.choice([2016, 2015], n))
    table = replaced(table, "month", rng.choice([6, 7], n))
    table = replaced(table, "weekofyear", rng.choice([22, 24, 26, 53], n))
    table = replaced(table, "Holiday", rng.choice([0, 1], n))
    first = bundle.model.n_features - len(classic.HISTORY_COLUMNS)
    columns = [(classic.LINEAR_TREND, 0.0, 1.0)]
    for i, name in enumerate(classic.HISTORY_COLUMNS):
        columns.append((name, float(bundle.encoders.mean[i]), float(bundle.encoders.scale[i])))
    for i, (name, mean, scale) in enumerate(columns):
        thresholds = split_thresholds(bundle.model.forest, first - 1 + i)
        if not thresholds.size:
            continue
        values = rng.choice(thresholds, n) / scale + mean
        for _ in range(3):
            values = np.nextafter(values, values + rng.integers(-1, 2, n))
        table = replaced(table, name, np.where(rng.random(n) < 0.3, values, table.column(name).to_numpy()))
    return table


def test_importances_of_features_are_spark_s(spark: SparkSession, folder: Path) -> None:
    from pyspark.ml.classification import RandomForestClassificationModel

    model = RandomForestClassificationModel.load(f"file://{folder / paths.FOREST_MODEL}")
    saved = SavedModel(read_saved(folder, [paths.FOREST_MODEL]), paths.FOREST_MODEL, model.numFeatures)
    np.testing.assert_allclose(forest_importance(saved), model.featureImportances.toArray(), rtol=1e-9)


def test_classes_and_probabilities_equal_spark_s(
    spark: SparkSession, folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    table = hard_rows(bundle, 25_000)
    expected_classes, expected = spark_scores(spark, folder, tmp_path / "rows.parquet", table)
    actual = bundle.model.predict(feature_matrix(table, bundle.encoders))
    assert np.array_equal(actual.probabilities, expected[:, list(schema.CLASS_NAMES)])
    assert np.array_equal(actual.labels, expected_classes)
    assert set(actual.labels.tolist()) == {1, 2, 3}


def test_the_hard_rows_do_sit_exactly_on_thresholds(bundle: Bundle) -> None:
    matrix = feature_matrix(hard_rows(bundle, 25_000), bundle.encoders)
    hits = [np.isin(matrix[:, i], split_thresholds(bundle.model.forest, i)).sum() for i in range(matrix.shape[1])]
    assert sum(bool(count) for count in hits) >= 10
    assert sum(hits) > 10_000


def test_the_predictor_s_answers_are_spark_s(spark: SparkSession, folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    table = hard_rows(bundle, PARITY_ROWS)
    expected_classes, expected = spark_scores(spark, folder, tmp_path / "rows.parquet", table)
    predictor = Predictor.load(folder)
    scored = predictor.score_table(table)
    assert np.array_equal(scored.labels, expected_classes)
    assert np.array_equal(scored.probabilities, expected[:, list(schema.CLASS_NAMES)])
    assert scored.cold_start.tolist() == [
        not text.startswith("10.") for text in table.column(schema.SERVER).to_pylist()
    ]
    assert predictor.predict(table.slice(0, 500)) == reference.answers(bundle, table.slice(0, 500))


def test_values_that_no_category_has_go_where_spark_sends_them(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.ml.classification import RandomForestClassifier
    from pyspark.ml.feature import StringIndexer, VectorAssembler
    from pyspark.ml.functions import array_to_vector, vector_to_array

    from loadcast import paths

    rng = np.random.default_rng(4)
    kinds, number = rng.integers(0, 9, 3_000), rng.normal(size=3_000)
    label = 1 + (kinds % 3 + (number > 0.3)) % 3
    data = list(zip(map(str, kinds), number.tolist(), label.tolist(), strict=True))
    rows = spark.createDataFrame(data, "a string, b double, label int")
    index = StringIndexer(inputCol="a", outputCol="i", handleInvalid="keep").fit(rows)
    assembled = VectorAssembler(inputCols=["i", "b"], outputCol="features").transform(index.transform(rows))
    model = RandomForestClassifier(numTrees=8, maxDepth=6, seed=1).fit(assembled)
    model.write().overwrite().save(f"file://{tmp_path / paths.FOREST_MODEL}")
    files = {file.relative_to(tmp_path).as_posix(): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    forest = build_forest(node_table(SavedFiles(tmp_path, files).table(f"{paths.FOREST_MODEL}/data")), 2)
    assert (forest.categories == 10).any()

    values = [-1.0, -0.0, 0.5, 9.0, 10.0, 11.0, 1e9, float("inf"), float("-inf"), *map(float, range(9))]
    matrix = np.array([(a, b) for a in values for b in (-2.0, 0.0, 0.3, 2.0, float("nan"), float("inf"))])
    vectors = spark.createDataFrame([(i, row) for i, row in enumerate(matrix.tolist())], "row int, x array<double>")
    scored = model.transform(vectors.select("row", array_to_vector("x").alias("features")))
    actual = scored.select("row", "prediction", vector_to_array("probability").alias("p")).orderBy("row").collect()
    for raw in (votes(forest, matrix), walk.compiled_votes(forest, walk.compact_nodes(forest), matrix)):
        assert np.array_equal(probabilities(raw), [row["p"] for row in actual])
        assert classes(raw).tolist() == [row["prediction"] for row in actual]
