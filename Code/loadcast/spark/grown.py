"""What xgboost says of trees that it has grown, as the table that is saved. Names no pyspark."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.models.boosted_family import FORMAT, N_CLASSES, NODES_SCHEMA, SAVED_CLASS

_NO_CHILD = -1
_LABELS = list(schema.CLASS_NAMES)


class GrownTrees(NamedTuple):
    """Trees as they are saved: `nodes` of NODES_SCHEMA, and the object that the folder's metadata holds."""

    nodes: pa.Table
    metadata: dict[str, Any]


def read_grown(model: bytes, settings: Mapping[str, Any]) -> GrownTrees:
    """The trees of a model of multi:softprob in xgboost's JSON; `settings` are what they were grown with."""
    document = json.loads(model)
    learner = document["learner"]
    forest, about = learner["gradient_booster"]["model"], learner["learner_model_param"]
    tables = [
        _nodes(tree, number, _LABELS[column])
        for number, (tree, column) in enumerate(zip(forest["trees"], forest["tree_info"], strict=True))
    ]
    metadata = {
        "class": SAVED_CLASS,
        "format": FORMAT,
        "numTrees": len(tables),
        "numClasses": N_CLASSES,
        "numFeatures": int(about["num_feature"]),
        "missing": schema.MISSING,
        "baseMargins": _base(about["base_score"]),
        "featureGains": _gains(forest["trees"], int(about["num_feature"])),
        "xgboostVersion": ".".join(map(str, document["version"])),
        "paramMap": dict(settings),
    }
    return GrownTrees(pa.concat_tables(tables), metadata)


def _base(text: str) -> list[float]:
    """The margins before the first tree: one for each class, or one for all."""
    numbers = json.loads(text)
    return [float(number) for number in (numbers if isinstance(numbers, list) else [numbers] * N_CLASSES)]


def _gains(trees: Iterable[Mapping[str, Any]], n_features: int) -> list[float]:
    """By how much the splits of each feature have lowered the loss, all trees together: xgboost's `total_gain`."""
    gains = np.zeros(n_features)
    for tree in trees:
        reached = _reached(tree)
        split = reached[np.array(tree["left_children"])[reached] != _NO_CHILD]
        np.add.at(gains, np.array(tree["split_indices"])[split], np.array(tree["loss_changes"], np.float64)[split])
    return [float(gain) for gain in gains]


def _reached(tree: Mapping[str, Any]) -> NDArray[np.intp]:
    """The nodes that can be reached, parents first: those that were pruned stand in the model, too."""
    left, right = tree["left_children"], tree["right_children"]
    reached = [0]
    for node in reached:  # which grows meanwhile
        if left[node] != _NO_CHILD:
            reached += [left[node], right[node]]
    return np.array(reached, dtype=np.intp)


def _nodes(tree: Mapping[str, Any], number: int, label: int) -> pa.Table:
    """The nodes of a tree that can be reached, numbered from the root down."""
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    chosen = _reached(tree)
    places = np.full(len(left) + 1, _NO_CHILD)  # of no child, too: that is the last one
    places[chosen] = np.arange(len(chosen))
    leaf, numbers = left[chosen] == _NO_CHILD, np.array(tree["split_conditions"])[chosen]
    columns = {
        "tree": np.full(len(chosen), number),
        "node": np.arange(len(chosen)),
        "label": np.full(len(chosen), label),
        "feature": np.where(leaf, _NO_CHILD, np.array(tree["split_indices"])[chosen]),
        "threshold": np.where(leaf, 0.0, numbers),
        "left": places[left[chosen]],
        "right": places[right[chosen]],
        "missingLeft": ~leaf & np.array(tree["default_left"], dtype=np.bool_)[chosen],
        "value": np.where(leaf, numbers, 0.0),
    }
    arrays = [pa.array(columns[field.name]).cast(field.type, safe=False) for field in NODES_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=NODES_SCHEMA)
