"""Boosted trees as a family of models: their saved folder, and the model that answers from it without xgboost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.vectors import numbers_in
from loadcast.models import boosted_walk
from loadcast.models.boosted import BoostedNodes, BoostedTrees, Floats, Singles, build_boosted, margins, softmax
from loadcast.models.model import Model, ModelFamily, Prediction
from loadcast.models.quick_boosted import quick_walk
from loadcast.models.saved import SavedModel, demand
from loadcast.models.tree_shape import MalformedForestError
from loadcast.settings import Settings

SAVED_CLASS = "loadcast.models.boosted.BoostedTrees"
N_CLASSES = len(schema.CLASS_NAMES)
FORMAT = 1
#: A row of the saved table is a node: what it is, without nulls.
NODES_SCHEMA = pa.schema(
    [
        pa.field("tree", pa.int32(), nullable=False),
        pa.field("node", pa.int32(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("feature", pa.int32(), nullable=False),
        pa.field("threshold", pa.float32(), nullable=False),
        pa.field("left", pa.int32(), nullable=False),
        pa.field("right", pa.int32(), nullable=False),
        pa.field("missingLeft", pa.bool_(), nullable=False),
        pa.field("value", pa.float32(), nullable=False),
    ]
)
_LABELS = np.array(list(schema.CLASS_NAMES), dtype=np.intp)
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class BoostedModel(Model):
    """Answers as xgboost does: the same class, and probabilities within the last bits of 32."""

    trees: BoostedTrees

    @property
    def n_features(self) -> int:
        return self.trees.n_features

    def warm(self) -> None:
        if linked := quick_walk():
            boosted_walk.use(linked)
        super().warm()

    def probabilities(self, matrix: Floats) -> Floats:
        return self.predict(matrix).probabilities

    def predict(self, matrix: Floats) -> Prediction:
        """Labels and probabilities; these add up to 1 in 64 bits, and the label is the first of the largest."""
        shares = softmax(self._margins(matrix))
        exact = shares.astype(np.float64)
        return Prediction(_LABELS[shares.argmax(axis=1)], exact / exact.sum(axis=1, keepdims=True))

    def _margins(self, matrix: Floats) -> Singles:
        if boosted_walk.is_available():
            return boosted_walk.compiled_margins(self.trees, self._nodes, matrix)
        return margins(self.trees, matrix)

    @cached_property
    def _nodes(self) -> boosted_walk.Nodes:
        return boosted_walk.compact_nodes(self.trees)


def load_boosted(saved: SavedModel) -> BoostedModel:
    """The model in a folder that training saved. Raises ArtefactError for what would be answered wrongly from."""
    metadata = saved.metadata()
    wanted = {"format": FORMAT, "numClasses": N_CLASSES, "numFeatures": saved.n_features, "missing": schema.MISSING}
    demand(metadata, saved.folder, **wanted)
    base = metadata.get("baseMargins")
    if not isinstance(base, list) or len(base) != N_CLASSES or not all(map(_is_single, base)):
        raise saved.saved.fault(f"{saved.folder}/metadata", f"has no list of {N_CLASSES} numbers as baseMargins")
    with saved.saved.reading(f"{saved.folder}/data"):
        nodes = boosted_nodes(saved.table("data", NODES_SCHEMA.names))
    try:
        trees = build_boosted(nodes, np.array(base, dtype=np.float32), saved.n_features)
    except MalformedForestError as exc:
        raise saved.saved.fault(f"{saved.folder}/data", f"has no boosted trees: {exc}") from exc
    demand({"numTrees": trees.n_trees}, saved.folder, numTrees=metadata.get("numTrees"))
    return BoostedModel(trees)


def boosted_importance(saved: SavedModel) -> Floats | None:
    """The share of each feature (n_features,) in what splits have gained; None of a model from before that was kept.

    Raises ArtefactError for gains that are none.
    """
    gains = saved.metadata().get("featureGains")
    if gains is None:
        return None
    is_list = isinstance(gains, list) and len(gains) == saved.n_features
    if not is_list or not all(_is_single(gain) and gain >= 0 for gain in gains):
        raise saved.saved.fault(f"{saved.folder}/metadata", f"has no list of {saved.n_features} gains as featureGains")
    shares: Floats = np.array(gains, dtype=np.float64)
    return shares / (shares.sum() or 1.0)


def _is_single(number: object) -> bool:
    """Whether a JSON value is a finite number of 32 bits."""
    is_number = isinstance(number, float | int) and not isinstance(number, bool)
    return is_number and abs(number) <= _LARGEST_SINGLE  # type: ignore[arg-type]


def boosted_nodes(table: pa.Table) -> BoostedNodes:
    """The saved table of nodes as arrays. Raises ValueError or pyarrow's errors where it is none."""
    columns = {field.name: _numbers(table.column(field.name), field) for field in NODES_SCHEMA}
    whole = {
        name: columns[name].astype(np.intp, copy=False)
        for name in ("tree", "node", "label", "feature", "left", "right")
    }
    return BoostedNodes(
        **whole,
        threshold=columns["threshold"],
        missing_left=columns["missingLeft"],
        value=columns["value"],
    )


def _numbers(column: pa.ChunkedArray, field: pa.Field) -> NDArray[Any]:
    if column.type != field.type or column.null_count:
        raise ValueError(f"{field.name} is {column.type}, wanted {field.type} without nulls")
    if pa.types.is_boolean(field.type):
        return numbers_in(column.cast(pa.uint8())).astype(np.bool_)
    return numbers_in(column)


def _caption(settings: Settings) -> str:
    return f"Boosting {settings.boosted.num_rounds * N_CLASSES} trees"


def _record(settings: Settings) -> Mapping[str, Any]:
    return {"modelSettings": settings.boosted.model_dump(by_alias=True)}


BOOSTED = ModelFamily(
    "boosted",
    SAVED_CLASS,
    load_boosted,
    "loadcast.spark.boosted:fit",
    _caption,
    _record,
    boosted_importance,
    fit_rows="loadcast.spark.boosted_rows:fit_rows",
    fit_variants="loadcast.spark.boosted_rows:fit_variants",
    fit_here="loadcast.spark.boosted:fit_here",
)
