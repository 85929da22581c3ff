"""The random forest as a family of models: its saved folder, and the model that answers from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.kernels.vectors import numbers_in
from loadcast.models import walk
from loadcast.models.forest import (
    Floats,
    Forest,
    NodeTable,
    build_forest,
    classes,
    probabilities,
    votes,
)
from loadcast.models.model import Model, ModelFamily, Prediction
from loadcast.models.quick_forest import quick_walk
from loadcast.models.saved import SavedModel, demand, params_of
from loadcast.models.tree_shape import Ints, MalformedForestError
from loadcast.settings import Settings

SAVED_CLASS = "org.apache.spark.ml.classification.RandomForestClassificationModel"
_N_CLASSES = max(schema.CLASS_NAMES) + 1  # Spark counts from 0, a class that never occurs
_CLASSES = list(schema.CLASS_NAMES)
_NODE = "nodeData"
#: What is read of a node, as Spark 2.1 and all later ones save it; `rawCount`, which came with Spark 3, is not needed.
_COLUMNS = (
    "treeID",
    *(f"{_NODE}.{name}" for name in ("id", "leftChild", "rightChild", "impurityStats")),
    *(f"{_NODE}.split.{name}" for name in ("featureIndex", "leftCategoriesOrThreshold", "numCategories")),
)
_GAIN = "gain"


@dataclass(frozen=True, eq=False)
class ForestModel(Model):
    """Answers as Spark ML's RandomForestClassificationModel does, bit for bit."""

    forest: Forest

    @property
    def n_features(self) -> int:
        return self.forest.n_features

    def warm(self) -> None:
        if linked := quick_walk():
            walk.use(linked)
        super().warm()

    def probabilities(self, matrix: Floats) -> Floats:
        return self.predict(matrix).probabilities

    def predict(self, matrix: Floats) -> Prediction:
        """Labels and probabilities. Spark decides on votes, before they are divided by their total; so does this."""
        raw = self._votes(matrix)
        return Prediction(classes(raw), probabilities(raw)[:, _CLASSES])

    def _votes(self, matrix: Floats) -> Floats:
        if walk.is_available():
            return walk.compiled_votes(self.forest, self._nodes, matrix)
        return votes(self.forest, matrix)

    @cached_property
    def _nodes(self) -> walk.Nodes:
        return walk.compact_nodes(self.forest)


def load_forest(saved: SavedModel) -> ForestModel:
    """The model in a folder that Spark ML saved. Raises ArtefactError where Spark itself would answer otherwise."""
    metadata = saved.metadata()
    # Thresholds would make Spark choose the class in another way.
    demand(params_of(metadata), saved.folder, thresholds=None)
    demand(metadata, saved.folder, numClasses=_N_CLASSES, numFeatures=saved.n_features)
    with saved.saved.reading(f"{saved.folder}/data"):
        nodes = node_table(saved.table("data", _COLUMNS), saved.folder)
    try:
        forest = build_forest(nodes, saved.n_features)
    except MalformedForestError as exc:
        raise saved.saved.fault(f"{saved.folder}/data", f"is no forest: {exc}") from exc
    demand({"numTrees": forest.n_trees}, saved.folder, numTrees=metadata.get("numTrees"))
    if forest.shares[:, [label for label in range(_N_CLASSES) if label not in schema.CLASS_NAMES]].any():
        raise ArtefactError(f"{saved.folder} was trained on labels other than {_CLASSES}. Train again.")
    return ForestModel(forest)


def forest_importance(saved: SavedModel) -> Floats:
    """The share of each feature in what splits have gained, as Spark ML's featureImportances has it.

    Source: TreeEnsembleModel.featureImportances. A split's gain counts with the rows that it saw; the shares of a tree
    add up to 1, and so do the trees' means. Raises ArtefactError.
    """
    with saved.saved.reading(f"{saved.folder}/data"):
        table = saved.table("data", (*_COLUMNS, f"{_NODE}.{_GAIN}"))
        nodes = node_table(table, saved.folder)
        column = pc.fill_null(pc.struct_field(table.column(_NODE), _GAIN), np.nan).combine_chunks()
        gains = numbers_in(column) * nodes.counts.sum(axis=1)
    split, width = nodes.feature >= 0, saved.n_features
    if (nodes.feature >= width).any() or not np.isfinite(gains[split]).all():
        raise ArtefactError(f"{saved.folder}: a split is of no feature, or its gain no number. Train again.")
    trees, tree = np.unique(nodes.tree[split], return_inverse=True)
    sums = np.zeros((len(trees), width))
    np.add.at(sums, (tree, nodes.feature[split]), gains[split])
    totals = sums.sum(axis=1, keepdims=True)
    shares = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0).sum(axis=0)
    mean: Floats = shares / max(1.0, shares.sum())
    return mean


def node_table(table: pa.Table, folder: str = paths.FOREST_MODEL, n_classes: int = _N_CLASSES) -> NodeTable:
    """Spark ML's table of nodes as arrays; `folder` is for messages. Raises ArtefactError."""
    table = table.combine_chunks()
    nodes = table.column(_NODE).combine_chunks()
    if isinstance(nodes, pa.ChunkedArray):
        nodes = nodes.chunk(0)
    split = nodes.field("split")
    values, counts = split.field("leftCategoriesOrThreshold"), nodes.field("impurityStats")

    def numbers(array: pa.Array) -> NDArray[Any]:
        if array.null_count:
            raise ArtefactError(f"{folder}: a node does not say all that Spark saves of one. Train again.")
        return numbers_in(array)

    def integers(array: pa.Array) -> Ints:
        return numbers(array).astype(np.intp)

    lengths = integers(counts.value_lengths())
    if not (lengths == n_classes).all():
        raise ArtefactError(f"{folder}: a node does not count {n_classes} classes. Train again.")
    offsets = np.concatenate([[0], np.cumsum(integers(values.value_lengths()))])
    return NodeTable(
        tree=integers(table.column("treeID").combine_chunks()),
        node=integers(nodes.field("id")),
        left=integers(nodes.field("leftChild")),
        right=integers(nodes.field("rightChild")),
        feature=integers(split.field("featureIndex")),
        categories=integers(split.field("numCategories")),
        split_offsets=offsets.astype(np.intp),
        split_values=numbers(values.flatten()).astype(np.float64, copy=False),
        counts=numbers(counts.flatten()).astype(np.float64, copy=False).reshape(-1, n_classes),
    )


def _caption(settings: Settings) -> str:
    return f"Growing {settings.forest.num_trees} trees"


def _record(settings: Settings) -> Mapping[str, Any]:
    return {"forest": settings.forest.model_dump(by_alias=True)}


FOREST = ModelFamily(
    "forest",
    SAVED_CLASS,
    load_forest,
    "loadcast.spark.forest:fit",
    _caption,
    _record,
    forest_importance,
    fit_rows="loadcast.models.forest_growth:fit_rows",
    check_rows="loadcast.models.forest_growth:check_rows",
    fit_here="loadcast.spark.forest:fit_here",
)
