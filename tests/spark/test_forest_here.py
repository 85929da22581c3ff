"""A forest that our kernels grow is Spark's own, node for node and bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import runs
from loadcast import paths, schema
from loadcast.errors import ConfigError
from loadcast.kernels.forest.fit import TrainingRows
from loadcast.kernels.forest.tree_order import tree_order
from loadcast.model_settings import ForestSettings
from loadcast.models.forest_growth import grown_nodes
from loadcast.models.registry import family_named
from loadcast.spark import fitting, forest
from loadcast.spark.forest_saving import save_nodes
from loadcast.spark.rows_here import read_rows
from loadcast.spark.table_partitions import table_partitions
from loadcast.storage.staging import FolderStaging
from loadcast.storage.table_files import FolderTables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

_SPLIT = datetime(2016, 6, 2)


class Made(NamedTuple):
    """A table of training rows: its folder and columns."""

    folder: Path
    columns: tuple[str, ...]

    def table(self, spark: SparkSession) -> fitting.TrainingTable:
        address = f"file://{self.folder / paths.FEATURES}"
        return fitting.TrainingTable(spark, address, self.columns, _SPLIT, FolderTables(str(self.folder)))


def matrix_of(rows: int, features: int, seed: int) -> NDArray[np.float64]:
    """Normal, two-valued, few-valued, often missing and rounded columns."""
    random = np.random.default_rng(seed)
    kinds = (
        lambda: random.normal(size=rows),
        lambda: random.integers(0, 2, rows),
        lambda: random.integers(0, 7, rows) - 3,
        lambda: np.where(random.random(rows) < 0.3, schema.MISSING, random.exponential(size=rows)),
        lambda: np.round(random.normal(size=rows), 1),
        lambda: np.full(rows, 4.5 if seed % 2 else 0.0),
    )
    return np.column_stack([kinds[column % len(kinds)]() for column in range(features)]).astype(np.float64)


def labels_of(matrix: NDArray[np.float64], seed: int) -> NDArray[np.int32]:
    noise = np.random.default_rng(seed + 1).normal(size=len(matrix))
    signal = matrix[:, 0] + matrix[:, 1] + noise
    return (1 + (signal > 0) + (signal > 1.2)).astype(np.int32)


def write(
    folder: Path, matrix: NDArray[np.float64], labels: NDArray[np.int32], cuts: Sequence[int], group: int
) -> Made:
    """A file for each stretch of rows between the cuts, in row groups of so many rows; a few rows are none to learn."""
    names = tuple(f"x{column}" for column in range(matrix.shape[1]))
    (folder / paths.FEATURES).mkdir()
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(labels)], strict=True)):
        rows = range(begin, end)
        columns = {
            schema.HOUR: [_SPLIT - timedelta(hours=24 if row % 50 else 0) for row in rows],
            schema.OBSERVED: [row % 31 != 0 for row in rows],
            schema.LABEL: labels[begin:end],
            **dict(zip(names, matrix[begin:end].T, strict=True)),
        }
        table = pa.table(columns).cast(_schema(names))
        pq.write_table(table, folder / paths.FEATURES / f"part {number}%20.parquet", row_group_size=group)
    return Made(folder, names)


def _schema(names: Sequence[str]) -> pa.Schema:
    first = [(schema.HOUR, pa.timestamp("us")), (schema.OBSERVED, pa.bool_()), (schema.LABEL, pa.int32())]
    return pa.schema([*first, *((name, pa.float64()) for name in names)])


@pytest.fixture
def cutting(spark: SparkSession) -> Iterator[Any]:
    """Says how large a partition of files may be, in bytes, and what Spark thinks opening one costs."""
    names = ("spark.sql.files.maxPartitionBytes", "spark.sql.files.openCostInBytes")
    before = [spark.conf.get(name) for name in names]

    def cut(most: int, opening: int) -> None:
        for name, value in zip(names, (most, opening), strict=True):
            spark.conf.set(name, str(value))

    yield cut
    for name, value in zip(names, before, strict=True):
        spark.conf.set(name, value)


def by_spark(made: Made, spark: SparkSession, settings: ForestSettings, group_mb: int, folder: Path) -> Path:
    rows = fitting.training_rows(spark, made.table(spark).address, made.columns, _SPLIT)
    classifier = forest._forest(settings, fitting.number_of_features(rows))
    # Without the cache of nodes groups by the hundred don't pile up on its stack.
    classifier.setMaxMemoryInMB(group_mb).setCacheNodeIds(False)._fit_java(rows).save(f"file://{folder}")
    return folder


def read(table: fitting.TrainingTable, threads: int) -> TrainingRows | None:
    partitions = table_partitions(table.spark, table.address)
    return None if partitions is None else read_rows(table, partitions, int, threads)


def nodes_here(made: Made, spark: SparkSession, settings: ForestSettings) -> tuple[pa.Table, list[int]]:
    rows = read(made.table(spark), threads=2)
    assert rows is not None
    return grown_nodes(rows, settings, threads=2), list(rows.partitions)


def settings_of(
    trees: int, depth: int, strategy: str, seed: int, bins: int = 32, least: int = 1, random: bool = False
) -> ForestSettings:
    own = {"minInstancesPerNode": least, "randomSplits": random}
    return ForestSettings(  # type: ignore[call-arg]
        numTrees=trees, maxDepth=depth, featureSubsetStrategy=strategy, seed=seed, maxBins=bins, **own
    )


# rows, features, cuts of files, rows of a group, bytes of a partition, settings, megabytes of a group of nodes
_CASES = {
    "one tree, all features": (300, 7, [], 300, 1 << 27, settings_of(1, 3, "all", 42), 512),
    "files in pieces, many trees": (900, 12, [100, 350, 800], 40, 9_000, settings_of(50, 4, "sqrt", -7), 512),
    "sampled by gaps": (32_000, 7, [11_000], 5_000, 300_000, settings_of(7, 6, "0.4", 123_456_789_012), 512),
    "sampled one by one": (13_000, 7, [6_000], 5_000, 1 << 27, settings_of(3, 9, "log2", 1), 512),
    "small groups of nodes": (1_500, 40, [700], 1_500, 1 << 27, settings_of(12, 6, "20", 77), 1),
    "children of so many rows": (900, 9, [], 900, 1 << 27, settings_of(6, 7, "all", 3, least=25), 512),
    "few bins": (1_200, 20, [], 1_200, 1 << 27, settings_of(33, 6, "onethird", 2**63 - 1, bins=5), 512),
    "hardly a row, and none for some trees": (4, 6, [3], 4, 1 << 27, settings_of(40, 5, "2", 5), 512),
}


@pytest.mark.parametrize("name", _CASES)
def test_nodes_are_sparks(
    name: str, spark: SparkSession, tmp_path: Path, cutting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, features, cuts, group, most, settings, group_mb = _CASES[name]
    matrix = matrix_of(rows, features, seed=rows)
    made = write(tmp_path, matrix, labels_of(matrix, rows), cuts, group)
    cutting(most, 1)
    monkeypatch.setattr("loadcast.models.forest_growth.GROUP_MB", group_mb)
    nodes, partitions = nodes_here(made, spark, settings)
    saved = pq.read_table(by_spark(made, spark, settings, group_mb, tmp_path / "saved") / "data")
    assert sum(count > 0 for count in partitions) > 1 or not cuts
    assert nodes.schema.equals(saved.schema)
    assert nodes.to_pylist() == saved.to_pylist()


def test_one_class_is_a_forest_of_leaves(spark: SparkSession, tmp_path: Path) -> None:
    matrix = matrix_of(60, 6, seed=1)
    made = write(tmp_path, matrix, np.full(60, 2, np.int32), [], 60)
    settings = settings_of(5, 4, "2", 3)
    nodes, _ = nodes_here(made, spark, settings)
    saved = pq.read_table(by_spark(made, spark, settings, 512, tmp_path / "saved") / "data")
    assert len(nodes) == 5
    assert nodes.to_pylist() == saved.to_pylist()


def test_a_saved_forest_is_sparks_to_load_and_to_save_again(spark: SparkSession, tmp_path: Path) -> None:
    from pyspark.ml.classification import RandomForestClassificationModel

    matrix = matrix_of(400, 6, seed=4)
    made = write(tmp_path, matrix, labels_of(matrix, 4), [], 400)
    settings = settings_of(3, 4, "2", 8)
    nodes, _ = nodes_here(made, spark, settings)
    ours = tmp_path / "ours"
    save_nodes(spark, forest._forest(settings, 6), nodes, 6, ours)
    rows = fitting.training_rows(spark, made.table(spark).address, made.columns, _SPLIT)
    theirs = tmp_path / "theirs"
    forest._forest(settings, 6)._fit_java(rows).save(f"file://{theirs}")
    assert _told(ours) == _told(theirs)
    model = RandomForestClassificationModel.load(f"file://{ours}")
    assert (model.numFeatures, model.numClasses, model.getNumTrees) == (6, 4, 3)
    model.save(f"file://{tmp_path / 'again'}")
    assert pq.read_table(tmp_path / "again" / "data").equals(nodes)


def _told(folder: Path) -> dict[str, Any]:
    """All that is saved but what tells one fit from another: a name, a time, and the seed if none were set."""
    (text,) = (folder / "metadata").glob("part-*")
    trees = pq.read_table(folder / "treesMetadata")
    (data,) = (folder / "data").glob("part-*.parquet")
    documents = [text.read_text(encoding="utf-8"), *trees.column("_2").to_pylist()]
    return {
        "metadata": [_same_of_all(json.loads(document)) for document in documents],
        "trees": (trees.schema, trees.column("_1").to_pylist(), trees.column("_3").to_pylist()),
        "nodes": pq.read_table(data).to_pylist(),
        "schema": (
            {name: _read(text) for name, text in pq.read_schema(data).metadata.items()},
            _columns(data),
        ),
        "marks": sorted(path.parent.name for path in folder.rglob("_SUCCESS")),
    }


def _columns(file: Path) -> list[str]:
    """The file's own schema, without the name that its writer gives the whole."""
    return str(pq.ParquetFile(file).schema).splitlines()[2:]


def _read(text: bytes) -> Any:
    """What a value of the file's metadata says: Spark's schema is JSON, its version is not."""
    return json.loads(text) if text.startswith(b"{") else text


def _same_of_all(document: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in document.items() if name not in ("uid", "timestamp")}
    return kept | {"defaultParamMap": {**kept["defaultParamMap"], "seed": None}}


def test_vectors_of_a_run_are_taken_as_sparks_assembler_does(
    hostile: runs.Run, spark: SparkSession, tmp_path: Path
) -> None:
    """What training has saved is what Spark's own fit gives on the same rows."""
    address, columns = f"file://{hostile.folder / paths.FEATURES}", hostile.info["featureColumns"]
    rows = fitting.training_rows(spark, address, columns, hostile.settings.split)
    forest.fit(rows, hostile.settings)(f"file://{tmp_path / 'saved'}")
    wanted = pq.read_table(tmp_path / "saved" / "data")
    assert pq.read_table(hostile.folder / paths.FOREST_MODEL / "data").equals(wanted)


def test_where_this_process_cannot_spark_does(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = matrix_of(300, 6, seed=2)
    made = write(tmp_path, matrix, labels_of(matrix, 2), [], 300)
    run = runs.make_settings("unused", tmp_path, 2, 1, forest={"numTrees": 2, "maxDepth": 2})
    table = made.table(spark)
    assert forest.fit_here(table, run) is not None
    many_bins = run.model_copy(update={"forest": settings_of(2, 2, "2", 1, bins=257)})
    assert forest.fit_here(table, many_bins) is None
    learned_from = sum(1 for row in range(300) if row % 50 and row % 31)  # as `write` has it
    monkeypatch.setattr("loadcast.spark.rows_here.MOST_BYTES", learned_from * (6 + 2 * 5) - 1)
    assert forest.fit_here(table, run) is None
    at_random = run.model_copy(update={"forest": settings_of(2, 2, "2", 1, random=True)})
    with pytest.raises(ConfigError, match=r"forest\.randomSplits: found true, wanted it with training rows"):
        forest.fit_here(table, at_random)
    staging = FolderStaging(tmp_path / "run")
    fitted = fitting.fit(family_named("forest"), table, run)
    fitted.save(staging)
    assert fitted.n_features == 6
    assert pq.read_table(tmp_path / "run" / paths.FOREST_MODEL / "data").num_rows > 2


def test_splits_at_random_are_saved_as_a_forest_of_spark_s(spark: SparkSession, tmp_path: Path) -> None:
    """On a cluster, too, they are grown by this process."""
    from pyspark.ml.classification import RandomForestClassificationModel

    matrix = matrix_of(300, 6, seed=2)
    made = write(tmp_path, matrix, labels_of(matrix, 2), [], 300)
    settings = {"numTrees": 3, "maxDepth": 5, "randomSplits": True, "minInstancesPerNode": 4}
    run = runs.make_settings("unused", tmp_path, 2, 1, forest=settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loadcast.spark.forest.is_local", lambda master: False)
        fitted = forest.fit_here(made.table(spark), run)
    assert fitted is not None
    fitted.save(FolderStaging(tmp_path / "run"))
    folder = tmp_path / "run" / paths.FOREST_MODEL
    model = RandomForestClassificationModel.load(f"file://{folder}")
    assert (model.numFeatures, model.getNumTrees, model.getMinInstancesPerNode()) == (6, 3, 4)
    model.save(f"file://{tmp_path / 'again'}")
    nodes, _ = nodes_here(made, spark, run.forest)
    assert pq.read_table(tmp_path / "again" / "data").equals(nodes)
    assert nodes.num_rows > 6


@pytest.mark.parametrize(("row", "value"), [(7, np.nan), (7, np.inf), (0, np.nan)])
def test_what_spark_refuses_is_left_to_it(row: int, value: float, spark: SparkSession, tmp_path: Path) -> None:
    matrix = matrix_of(60, 6, seed=3)
    labels = labels_of(matrix, 3)
    matrix[row, 2] = value
    made = write(tmp_path, matrix, labels, [], 60)
    assert read(made.table(spark), threads=1) is None


def test_another_reader_of_parquet_is_left_to_it(spark: SparkSession, tmp_path: Path) -> None:
    matrix = matrix_of(60, 6, seed=3)
    made = write(tmp_path, matrix, labels_of(matrix, 3), [], 60)
    own = spark.conf.get("spark.sql.sources.useV1SourceList")
    spark.conf.set("spark.sql.sources.useV1SourceList", "")
    try:
        assert read(made.table(spark), threads=1) is None
    finally:
        spark.conf.set("spark.sql.sources.useV1SourceList", own)


def test_no_rows_are_left_to_it(spark: SparkSession, tmp_path: Path) -> None:
    made = write(tmp_path, np.zeros((1, 2)), np.ones(1, np.int32), [], 1)  # of the test period
    assert read(made.table(spark), threads=1) is None


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 33, 100, 700])
def test_trees_are_gone_through_as_scalas_maps_do(number: int, spark: SparkSession) -> None:
    jvm: Any = spark._jvm
    trees = np.random.default_rng(number).permutation(2_000)[:number].tolist()
    changing = jvm.scala.collection.mutable.HashMap()
    for tree in trees:
        changing.update(tree, tree)
    fixed = getattr(jvm.scala.collection.immutable.Map, "from")(changing)
    keys = fixed.keysIterator()
    assert tree_order(trees) == [keys.next() for _ in range(fixed.size())]
