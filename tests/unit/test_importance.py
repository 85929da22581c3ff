"""What a model has learned from: the forest's splits, summed up by feature."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NODES, random_features, write_bundle
from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.models.registry import feature_importance
from loadcast.models.saved import SavedFiles, read_saved
from loadcast.serving.bundle import importance_of

WIDTH = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("importance") / "bundle", random_features(500, seed=1))


def forest(
    folder: Path, trees: list[list[dict[str, Any]]], kind: str = "RandomForestClassificationModel"
) -> SavedFiles:
    """Saved trees of nodes, each given by what differs from a leaf."""
    leaf = {"id": 0, "prediction": 1.0, "impurity": 0.1, "impurityStats": [0.0, 1.0, 1.0, 2.0], "rawCount": 4}
    split = {"featureIndex": -1, "leftCategoriesOrThreshold": [], "numCategories": -1}
    whole = {**leaf, "gain": -1.0, "leftChild": -1, "rightChild": -1, "split": split}
    rows = [{"treeID": at, "nodeData": {**whole, **node}} for at, tree in enumerate(trees) for node in tree]
    model = folder / paths.FOREST_MODEL
    (model / "data").mkdir(parents=True)
    (model / "metadata").mkdir()
    metadata = {"class": f"org.apache.spark.ml.classification.{kind}", "paramMap": {}, "numTrees": len(trees)}
    (model / "metadata" / "part-0").write_text(json.dumps(metadata))
    pq.write_table(pa.Table.from_pylist(rows, NODES), model / "data" / "part-0.parquet")
    return read_saved(folder, [paths.FOREST_MODEL])


def inner(feature: int, gain: float, rows: float) -> dict[str, Any]:
    """A node that splits so many rows."""
    split = {"featureIndex": feature, "leftCategoriesOrThreshold": [0.5], "numCategories": -1}
    return {"gain": gain, "impurityStats": [0.0, rows, 0.0, 0.0], "split": split}


def test_gains_count_by_rows_and_trees_count_alike(tmp_path: Path) -> None:
    trees = [[inner(0, 0.5, 8), inner(2, 0.25, 4), inner(0, 0.0, 2)], [inner(2, 0.1, 1)], [{}]]
    shares = feature_importance(forest(tmp_path, trees), 3)
    assert shares is not None
    # The first tree: 0.5 · 8 = 4 of feature 0, 1 of feature 2; the second is all of feature 2; the third has no split.
    assert shares.tolist() == pytest.approx([0.4, 0.0, 0.6])


def test_a_forest_of_leaves_has_learned_from_nothing(tmp_path: Path) -> None:
    shares = feature_importance(forest(tmp_path, [[{}], [{}]]), 3)
    assert shares is not None
    assert shares.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "tree",
    [
        [inner(3, 0.5, 8)],
        [inner(0, float("nan"), 8)],
        [inner(0, 0.5, float("inf"))],
        [{"impurityStats": None}],
        [{**inner(0, 0.5, 8), "gain": None}],
    ],
)
def test_a_forest_that_cannot_be_is_refused(tree: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="Train again"):
        feature_importance(forest(tmp_path, [tree]), 3)


def test_of_a_family_that_does_not_know_there_is_none(tmp_path: Path) -> None:
    assert feature_importance(forest(tmp_path, [[{}]], kind="SomethingElse"), 3) is None


def test_the_columns_of_a_feature_count_together(folder: Path) -> None:
    found = importance_of(folder)
    assert found is not None
    assert sum(found.values()) == pytest.approx(1)
    assert {"hourofday", schema.SERVER, "linearTrend", "peakLoadLag48"} <= found.keys()
    assert [name for name in found if "indexed" in name or "scaled" in name] == []
    plain: dict[str, float] = defaultdict(float)
    for node in pq.read_table(folder / paths.FOREST_MODEL / "data").column("nodeData").to_pylist():
        if node["split"]["featureIndex"] >= 0:
            plain[node["split"]["featureIndex"]] += node["gain"] * sum(node["impurityStats"])
    assert (found["hourofday"] > 0) == any(plain.values())


def test_a_bundle_that_was_changed_is_not_read(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / paths.METRICS).write_text("{ }")
    with pytest.raises(ArtefactError, match="changed after training"):
        importance_of(copy)
