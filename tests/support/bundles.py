"""Small bundles for tests: random features, random trees, and folders as Spark ML saves them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import artefact_files
import classic
from loadcast import paths, schema
from loadcast.storage.checksum import sha256_of_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

N_CLASSES = max(schema.CLASS_NAMES) + 1
SERVERS = tuple(f"10.0.0.{i}" for i in range(1, 6))
BEGIN = datetime(2016, 6, 1)

NODE_DATA = pa.struct(
    [
        ("id", pa.int32()),
        ("prediction", pa.float64()),
        ("impurity", pa.float64()),
        ("impurityStats", pa.list_(pa.float64())),
        ("rawCount", pa.int64()),
        ("gain", pa.float64()),
        ("leftChild", pa.int32()),
        ("rightChild", pa.int32()),
        (
            "split",
            pa.struct(
                [
                    ("featureIndex", pa.int32()),
                    ("leftCategoriesOrThreshold", pa.list_(pa.float64())),
                    ("numCategories", pa.int32()),
                ]
            ),
        ),
    ]
)
NODES = pa.schema([("treeID", pa.int32()), ("nodeData", NODE_DATA)])
VECTOR = pa.struct(
    [("type", pa.int8()), ("size", pa.int32()), ("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float64()))]
)


def random_features(n: int, seed: int = 0, servers: tuple[str, ...] = SERVERS) -> pa.Table:
    """n rows of classic.FEATURES_SCHEMA, all of June 2016 (so some columns have one level), with a label to learn."""
    rng = np.random.default_rng(seed)
    hours = rng.integers(0, 24 * 30, n)
    times = [BEGIN + timedelta(hours=int(h)) for h in hours]
    server = rng.integers(0, len(servers), n)
    columns: dict[str, Any] = {
        schema.SERVER: [servers[i] for i in server],
        schema.HOUR: times,
        "year": [t.year for t in times],
        "month": [t.month for t in times],
        "weekofyear": [t.isocalendar()[1] for t in times],
        "dayofmonth": [t.day for t in times],
        "hourofday": [t.hour for t in times],
        "dayofweek": [t.isoweekday() for t in times],
        "Holiday": [0] * n,
        "BusinessHour": [int(8 <= t.hour <= 18) for t in times],
        "Morning": [int(6 <= t.hour <= 9) for t in times],
        classic.LINEAR_TREND: hours / classic.HOURS_PER_YEAR,
    }
    for i, name in enumerate(classic.HISTORY_COLUMNS):
        # One constant column: its standard deviation is 0.
        columns[name] = (
            np.full(n, 3.0) if i == len(classic.HISTORY_COLUMNS) - 1 else rng.gamma(2.0, 150.0, n).round(i % 4)
        )
    load = 60 * (server + 1) * (1 + np.array(columns["BusinessHour"])) + columns["peakLoadLag48"] * rng.random(n)
    columns[schema.PEAK_LOAD] = load
    columns[schema.OBSERVED] = rng.random(n) < 0.95
    columns[schema.LABEL] = np.select([load <= 200, load > 500], [1, 3], 2)
    columns[schema.KEY] = [f"{s}_{t}" for s, t in zip(columns[schema.SERVER], times, strict=True)]
    arrays = [pa.array(columns[field.name], field.type) for field in classic.FEATURES_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=classic.FEATURES_SCHEMA)


def records(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as the service takes them: plain JSON values."""
    rows = table.drop_columns([schema.PEAK_LOAD, schema.OBSERVED, schema.LABEL]).to_pylist()
    return [{**row, schema.HOUR: str(row[schema.HOUR])} for row in rows]


def levels_of(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Training levels of the categorical columns: most frequent first, ties in string order."""
    found = {}
    for name in classic.CATEGORICAL_COLUMNS:
        texts = [str(value) for value in table.column(name).to_pylist()]
        found[name] = tuple(sorted(set(texts), key=lambda text: (-texts.count(text), text)))
    return found


def random_tree(rng: np.random.Generator, depth: int, categories: list[int]) -> list[dict[str, Any]]:
    """One tree's nodes in Spark's order (root first, then the left half); `categories` per feature, −1 for a number."""
    nodes: list[dict[str, Any]] = []

    def grow(level: int) -> int:
        own = len(nodes)
        counts = [0.0, *map(float, rng.integers(0, 50, N_CLASSES - 1))]
        counts[2] += 1
        node = {"id": own, "prediction": 2.0, "impurity": 0.5, "impurityStats": counts, "rawCount": int(sum(counts))}
        split = {"featureIndex": -1, "leftCategoriesOrThreshold": [], "numCategories": -1}
        nodes.append({**node, "gain": -1.0, "leftChild": -1, "rightChild": -1, "split": split})
        if level < depth and (level == 0 or rng.random() < 0.8):
            feature = int(rng.integers(len(categories)))
            size = categories[feature]
            left = [float(rng.normal())] if size < 0 else [float(c) for c in range(size) if rng.random() < 0.5]
            split = {"featureIndex": feature, "leftCategoriesOrThreshold": left, "numCategories": size}
            left_child = grow(level + 1)
            nodes[own].update(gain=0.1, leftChild=left_child, rightChild=grow(level + 1), split=split)
        return own

    grow(0)
    return nodes


def write_bundle(
    folder: Path, training: pa.Table, *, n_trees: int = 5, spark_version: str = "4.3.0", seed: int = 0
) -> Path:
    """A bundle of random trees, written without Spark in the layout of `spark_version` (3.5 or 4)."""
    old = spark_version.startswith("3.")
    levels = levels_of(training)
    only, encode = _by_levels(levels)
    history = np.column_stack([training.column(name).to_numpy() for name in classic.HISTORY_COLUMNS])
    stage = "stages/0_Stage_1"
    categorical = classic.CATEGORICAL_COLUMNS
    index = {"inputCols": list(categorical), "outputCols": [*map(schema.indexed, categorical)], "handleInvalid": "keep"}
    hot = {"inputCols": [*map(schema.indexed, encode)], "outputCols": [*map(schema.encoded, encode)], "dropLast": True}

    for name, kind, params, row in (
        (
            paths.STRING_INDEX_MODEL,
            "StringIndexerModel",
            index,
            {"labelsArray": [list(levels[c]) for c in categorical]},
        ),
        (paths.ONE_HOT_MODEL, "OneHotEncoderModel", hot, {"categorySizes": [len(levels[c]) + 1 for c in encode]}),
    ):
        _write_metadata(folder / name, "org.apache.spark.ml.PipelineModel", old, {"stageUids": ["Stage_1"]})
        _write_metadata(folder / name / stage, f"org.apache.spark.ml.feature.{kind}", old, params)
        _write_parts(folder / name / stage / "data", [pa.Table.from_pylist([row])])
    scale = folder / paths.SCALE_MODEL
    _write_metadata(scale, "org.apache.spark.ml.feature.StandardScalerModel", old, {"withMean": True, "withStd": True})
    _write_parts(scale / "data", [_scaler_table(history)])
    slots = sum(len(levels[c]) for c in encode)
    categories = [2] * (len(only) + slots) + [-1] * (1 + len(classic.HISTORY_COLUMNS))
    _write_forest(folder / paths.FOREST_MODEL, categories, n_trees, old, np.random.default_rng(seed))
    (folder / paths.METRICS).write_text("{}")
    write_info(folder, only, encode)
    return folder


def write_info(folder: Path, only_indexed: tuple[str, ...], for_encode: tuple[str, ...], **changes: Any) -> None:
    """`info` over the files that lie in the folder now."""
    about = {
        "columnOnlyIndexed": list(only_indexed),
        "columnForEncode": list(for_encode),
        "featureColumns": list(classic.CLASSIC.vector(only_indexed, for_encode)),
        "files": sha256_of_files(folder, (*paths.BUNDLE_FOLDERS, paths.METRICS)),
    }
    artefact_files.write_info(folder, **{**about, **changes})


def _by_levels(levels: dict[str, tuple[str, ...]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    only = tuple(name for name in classic.CATEGORICAL_COLUMNS if len(levels[name]) < 2)
    return only, tuple(name for name in classic.CATEGORICAL_COLUMNS if name not in only)


def _write_metadata(folder: Path, kind: str, old: bool, params: dict[str, Any], **more: Any) -> None:
    place = folder / "metadata"
    place.mkdir(parents=True)
    text = json.dumps({"class": kind, "uid": "u", "paramMap": params, "defaultParamMap": {}, **more})
    (place / ("part-00000" if old else "part-00000-1b-c000.txt")).write_text(text + "\n")
    (place / "_SUCCESS").touch()
    (place / "._SUCCESS.crc").write_bytes(b"crc")


def _write_parts(folder: Path, tables: list[pa.Table]) -> None:
    folder.mkdir(parents=True)
    for i, table in enumerate(tables):
        pq.write_table(table, folder / f"part-{i:05d}-1b-c000.snappy.parquet", compression="snappy")
    (folder / "_SUCCESS").touch()


def _scaler_table(history: np.ndarray) -> pa.Table:
    std = history.std(axis=0, ddof=1)
    at = np.flatnonzero(std)
    dense = {"type": 1, "size": None, "indices": None, "values": history.mean(axis=0).tolist()}
    sparse = {"type": 0, "size": len(std), "indices": at.tolist(), "values": std[at].tolist()}
    return pa.Table.from_pylist([{"std": sparse, "mean": dense}], pa.schema([("std", VECTOR), ("mean", VECTOR)]))


def _write_forest(folder: Path, categories: list[int], n_trees: int, old: bool, rng: np.random.Generator) -> None:
    kind = "org.apache.spark.ml.classification.RandomForestClassificationModel"
    sizes = {"numFeatures": len(categories), "numClasses": N_CLASSES, "numTrees": n_trees}
    _write_metadata(folder, kind, old, {}, **sizes)
    trees = [random_tree(rng, 5, categories) for _ in range(n_trees)]
    rows = [{"treeID": i, "nodeData": node} for i, tree in enumerate(trees) for node in tree]
    half = len(rows) // 2
    # Two parts, the second first: their order must not matter.
    _write_parts(folder / "data", [pa.Table.from_pylist(part, NODES) for part in (rows[half:], rows[:half])])
    names = ("treeID", "metadata", "weights") if old else ("_1", "_2", "_3")
    weights = [dict(zip(names, (i, "{}", 1.0), strict=True)) for i in range(n_trees)]
    _write_parts(folder / "treesMetadata", [pa.Table.from_pylist(weights)])


def train_bundle(
    spark: SparkSession, folder: Path, training: pa.Table, *, n_trees: int = 10, max_depth: int = 6
) -> Path:
    """A bundle fitted and saved by Spark ML itself; `folder` must not exist yet."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import RandomForestClassifier
    from pyspark.ml.feature import OneHotEncoder, StandardScaler, StringIndexer

    folder.mkdir(parents=True)
    rows = as_frame(spark, folder.parent / f"{folder.name}-training.parquet", training)
    only, encode = _by_levels(levels_of(training))
    names = list(classic.CATEGORICAL_COLUMNS)
    indexer = StringIndexer(inputCols=names, outputCols=[*map(schema.indexed, names)], handleInvalid="keep")
    index = Pipeline(stages=[indexer]).fit(rows)
    encoder = OneHotEncoder(inputCols=[*map(schema.indexed, encode)], outputCols=[*map(schema.encoded, encode)])
    hot = Pipeline(stages=[encoder]).fit(index.transform(rows))
    scaler = StandardScaler(inputCol="history", outputCol="scaled", withMean=True, withStd=True)
    scale = scaler.fit(_history().transform(rows))
    features = _assembled(hot.transform(index.transform(rows)), scale, only, encode)
    forest = RandomForestClassifier(labelCol=schema.LABEL, numTrees=n_trees, maxDepth=max_depth, seed=42).fit(features)
    for name, model in zip(paths.BUNDLE_FOLDERS, (index, hot, scale, forest), strict=True):
        model.write().overwrite().save(f"file://{folder / name}")
    (folder / paths.METRICS).write_text("{}")
    write_info(folder, only, encode)
    return folder


def as_frame(spark: SparkSession, file: Path, table: pa.Table) -> DataFrame:
    """The table as a Spark DataFrame, by way of a Parquet file."""
    pq.write_table(table, file)
    return spark.read.parquet(f"file://{file}")


def spark_scores(spark: SparkSession, folder: Path, file: Path, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Spark's own answer for each row, in order: classes (n,) and probabilities (n, classes)."""
    from pyspark.ml import PipelineModel
    from pyspark.ml.classification import RandomForestClassificationModel
    from pyspark.ml.feature import StandardScalerModel
    from pyspark.ml.functions import vector_to_array

    info = json.loads((folder / paths.INFO).read_text())
    rows = as_frame(spark, file, table.append_column("row", pa.array(range(table.num_rows))))
    for name in (paths.STRING_INDEX_MODEL, paths.ONE_HOT_MODEL):
        rows = PipelineModel.load(f"file://{folder / name}").transform(rows)
    scale = StandardScalerModel.load(f"file://{folder / paths.SCALE_MODEL}")
    rows = _assembled(rows, scale, tuple(info["columnOnlyIndexed"]), tuple(info["columnForEncode"]))
    answers = RandomForestClassificationModel.load(f"file://{folder / paths.FOREST_MODEL}").transform(rows)
    found = answers.select("row", "prediction", vector_to_array("probability").alias("p")).orderBy("row").collect()
    return np.array([row["prediction"] for row in found]), np.array([row["p"] for row in found])


def _history() -> Any:
    from pyspark.ml.feature import VectorAssembler

    return VectorAssembler(inputCols=list(classic.HISTORY_COLUMNS), outputCol="history")


def _assembled(rows: DataFrame, scale: Any, only: tuple[str, ...], encode: tuple[str, ...]) -> DataFrame:
    from pyspark.ml.feature import VectorAssembler

    columns = [*map(schema.indexed, only), *map(schema.encoded, encode), classic.LINEAR_TREND, "scaled"]
    return VectorAssembler(inputCols=columns, outputCol="features").transform(
        scale.transform(_history().transform(rows))
    )
