"""Boosted trees without xgboost: its own answers, and folders that nobody could answer rightly from."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.models import boosted_walk
from loadcast.models.boosted import BoostedTrees, margins, softmax
from loadcast.models.boosted_family import NODES_SCHEMA, SAVED_CLASS, BoostedModel, boosted_importance, load_boosted
from loadcast.models.registry import load_model
from loadcast.models.saved import SavedFiles, SavedModel
from loadcast.spark.grown import read_grown

ROOT = {"tree": 0, "node": 0, "label": 1, "feature": 0, "threshold": 0.5, "left": 1, "right": 2, "missingLeft": True}
LEAF = {"tree": 0, "label": 1, "feature": -1, "threshold": 0.0, "left": -1, "right": -1, "missingLeft": False}
STUMP = [{**ROOT, "value": 0.0}, {**LEAF, "node": 1, "value": 2.0}, {**LEAF, "node": 2, "value": -2.0}]
METADATA = {
    "class": SAVED_CLASS,
    "format": 1,
    "numTrees": 1,
    "numClasses": 3,
    "numFeatures": 2,
    "missing": -99.0,
    "baseMargins": [0.0, 0.5, -0.5],
}


def saved(nodes: pa.Table | list[dict[str, Any]], metadata: dict[str, Any], width: int) -> SavedModel:
    table = nodes if isinstance(nodes, pa.Table) else pa.Table.from_pylist(nodes, NODES_SCHEMA)
    file = BytesIO()
    pq.write_table(table, file)
    files = {"mlModel/metadata/part-0": json.dumps(metadata).encode(), "mlModel/data/part-0": file.getvalue()}
    return SavedModel(SavedFiles(Path("/some/where"), files), paths.FOREST_MODEL, width)


def grown(rng: np.random.Generator, classes: int) -> tuple[Any, BoostedTrees]:
    """A random booster of the library, and what is loaded of what it saves."""
    import xgboost

    n, width, bins = 300, int(rng.integers(1, 7)), int(rng.integers(2, 64))
    matrix = rng.normal(size=(n, width)).astype(np.float32)
    matrix[:, 0] = np.round(matrix[:, 0])
    matrix[rng.random(matrix.shape) < rng.choice([0, 0.3])] = schema.MISSING
    labels = (rng.integers(0, 3, n) + (matrix[:, 0] > 0)) % classes
    given = {"objective": "multi:softprob", "num_class": 3, "tree_method": "hist", "max_bin": bins, "eta": 0.7}
    more = {"max_depth": int(rng.integers(1, 7)), "nthread": 1, "verbosity": 0, "gamma": float(rng.choice([0, 0.5]))}
    rows = xgboost.QuantileDMatrix(matrix, labels, missing=schema.MISSING, max_bin=bins, nthread=1)
    booster = xgboost.train({**given, **more}, rows, int(rng.integers(1, 12)))
    trees = read_grown(bytes(booster.save_raw("json")), {})
    return booster, load_boosted(saved(trees.nodes, trees.metadata, width)).trees


@pytest.mark.parametrize("seed", range(6))
def test_importance_is_the_library_s_total_gain(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    booster, trees = grown(rng, 3)
    kept = read_grown(bytes(booster.save_raw("json")), {})
    found = boosted_importance(saved(kept.nodes, kept.metadata, trees.n_features))
    gains = booster.get_score(importance_type="total_gain")
    wanted = np.array([gains.get(f"f{feature}", 0.0) for feature in range(trees.n_features)])
    assert found == pytest.approx(wanted / (wanted.sum() or 1.0), rel=1e-5)


@pytest.mark.parametrize(
    "gains", [[1.0], [1.0, 2.0, 3.0], [1.0, -1.0], [1.0, None], [True, 1.0], "gains", {}, [1.0, 1e300]]
)
def test_gains_that_are_none_are_refused(gains: Any) -> None:
    with pytest.raises(ArtefactError, match="has no list of 2 gains as featureGains"):
        boosted_importance(saved(STUMP, {**METADATA, "featureGains": gains}, 2))


def test_a_model_without_gains_has_no_importance() -> None:
    assert boosted_importance(saved(STUMP, METADATA, 2)) is None


def rows_for(rng: np.random.Generator, trees: BoostedTrees) -> np.ndarray:
    """Rows on and next to thresholds, between them, and far away."""
    singles = np.unique(trees.value)
    near = [np.nextafter(singles, np.float32(side)) for side in (-np.inf, np.inf)]
    between = singles.astype(np.float64) + np.spacing(singles) * rng.random(len(singles))
    odd = [np.nan, schema.MISSING, np.nextafter(np.float32(-99), 0), -99 - 1e-9, 0.0, -0.0, 1e-45, -1e-45, 1e38, -1e38]
    values = np.concatenate([singles, *near, between, odd]).astype(np.float64)
    shape = (200, trees.n_features)
    return np.where(rng.random(shape) < 0.8, rng.choice(values, shape), rng.normal(size=shape))


@pytest.mark.parametrize("seed", range(24))
def test_class_and_probabilities_are_the_library_s_own(seed: int) -> None:
    import xgboost

    rng = np.random.default_rng(seed)
    booster, trees = grown(rng, classes=1 + seed % 3)
    matrix = rows_for(rng, trees)
    asked = xgboost.DMatrix(matrix, missing=schema.MISSING, nthread=1)
    assert margins(trees, matrix).tobytes() == booster.predict(asked, output_margin=True).tobytes()
    shares, answer = booster.predict(asked), BoostedModel(trees).predict(matrix)
    assert answer.labels.tolist() == (1 + shares.argmax(axis=1)).tolist()
    assert np.abs(answer.probabilities - shares).max() < 2e-7
    assert np.abs(answer.probabilities.sum(axis=1) - 1).max() < 1e-15


def test_infinite_values_lie_beyond_every_threshold() -> None:
    model = load_boosted(saved(STUMP, METADATA, 2))
    shares = model.probabilities(np.array([[-np.inf, 0], [-1e300, 0], [1e300, 0], [np.inf, 0], [np.nan, 0]]))
    assert np.array_equal(shares[[0, 1]], shares[[4, 0]])
    assert np.array_equal(shares[2], shares[3])
    assert shares[0, 0] > shares[2, 0]


@pytest.mark.parametrize("seed", range(6))
def test_the_compiled_walk_gives_the_same_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, trees = grown(rng, classes=3)
    nodes = boosted_walk.compact_nodes(trees)
    for matrix in (
        rows_for(rng, trees),
        rows_for(rng, trees)[::2],
        np.zeros((0, trees.n_features)),
        np.full((33, trees.n_features), -99),
    ):
        assert boosted_walk.compiled_margins(trees, nodes, matrix).tobytes() == margins(trees, matrix).tobytes()
    many = np.tile(rows_for(rng, trees), (200, 1))
    assert margins(trees, many).tobytes() == boosted_walk.compiled_margins(trees, nodes, many).tobytes()


def test_without_a_compiler_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _, trees = grown(np.random.default_rng(3), classes=3)
    matrix = rows_for(np.random.default_rng(4), trees)
    compiled = BoostedModel(trees).predict(matrix)
    monkeypatch.setattr(boosted_walk, "is_available", lambda: False)
    plain = BoostedModel(trees).predict(matrix)
    assert plain.probabilities.tobytes() == compiled.probabilities.tobytes()
    assert np.array_equal(plain.labels, compiled.labels)


@pytest.mark.parametrize("walked", [margins, lambda trees, rows: boosted_walk.compiled_margins(trees, None, rows)])
def test_a_matrix_of_another_width_is_refused(walked: Any) -> None:
    trees = load_boosted(saved(STUMP, METADATA, 2)).trees
    with pytest.raises(ValueError, match=r"the matrix is \(1, 3\), wanted \(rows, 2\)"):
        walked(trees, np.zeros((1, 3)))


def test_equal_margins_are_the_first_class_s() -> None:
    model = load_boosted(saved(STUMP, {**METADATA, "baseMargins": [-2, 0.0, 0.0]}, 2))
    assert model.predict(np.zeros((1, 2))).labels.tolist() == [1]
    assert model.predict(np.ones((1, 2))).labels.tolist() == [2]
    assert softmax(np.full((1, 3), -3e38, np.float32)).tolist() == [[np.float32(1 / 3)] * 3]


def test_the_registry_knows_the_folder() -> None:
    assert isinstance(load_model(saved(STUMP, METADATA, 2).saved, 2), BoostedModel)


def test_nodes_may_stand_in_any_order() -> None:
    model = load_boosted(saved(list(reversed(STUMP)), METADATA, 2))
    assert model.trees.value.tolist() == [0.5, 2.0, -2.0]


# --- hostile folders ------------------------------------------------------------------------------------------------


def refused(nodes: pa.Table | list[dict[str, Any]], **metadata: Any) -> str:
    with pytest.raises(ArtefactError) as caught:
        load_boosted(saved(nodes, {**METADATA, **metadata}, 2))
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 500
    assert "mlModel" in line
    assert line.endswith("Train again.")
    return line


@pytest.mark.parametrize(
    ("place", "key", "value", "reason"),
    [
        (0, "left", 0, "a child that its tree does not have"),
        (0, "left", 3, "a child that its tree does not have"),
        (0, "right", -5, "a child that its tree does not have"),
        (0, "right", 1, "a node has two parents or none"),
        (0, "left", -1, "a child that its tree does not have"),
        (1, "left", 2, "a child that its tree does not have"),
        (0, "feature", 2, "a feature outside 0 … 1"),
        (0, "feature", -1, "a feature outside 0 … 1"),
        (0, "threshold", float("nan"), "not a finite number"),
        (0, "threshold", float("inf"), "not a finite number"),
        (1, "value", float("nan"), "not a finite number"),
        (2, "value", float("-inf"), "not a finite number"),
        (0, "label", 0, "not each of one of the classes"),
        (1, "label", 2, "not each of one of the classes"),
        (2, "node", 3, "the node numbers of a tree"),
        (2, "node", 1, "the node numbers of a tree"),
        (2, "node", -(2**31), "the node numbers of a tree"),
        (2, "tree", 2**31 - 1, "the tree numbers are not"),
        (2, "tree", 1, "the node numbers of a tree"),
    ],
)
def test_nodes_that_are_no_trees_are_refused(place: int, key: str, value: Any, reason: str) -> None:
    nodes = [{**node, key: value} if number == place else node for number, node in enumerate(STUMP)]
    assert reason in refused(nodes)


def chain(depth: int) -> list[dict[str, Any]]:
    inner = [{**STUMP[0], "node": 2 * level, "left": 2 * level + 1, "right": 2 * level + 2} for level in range(depth)]
    return [*inner, *({**STUMP[1], "node": 2 * level + 1} for level in range(depth)), {**STUMP[1], "node": 2 * depth}]


def test_cycles_and_depths_beyond_all_use_are_refused() -> None:
    back = [dict(node) for node in chain(2)]
    back[1].update(left=1, right=2)
    assert "its own descendant" in refused(back)
    assert load_boosted(saved(chain(30), METADATA, 2)).trees.depth == 30
    assert "deeper than 30" in refused(chain(31))
    refused([])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop_columns("value"), "not in the form"),
        (lambda table: table.set_column(4, "threshold", table["threshold"].cast(pa.float64())), "wanted float"),
        (lambda table: table.set_column(5, "left", pa.nulls(3, pa.int32())), "without nulls"),
        (lambda table: table.set_column(5, "left", pa.array(["1", "-1", "-1"])), "left is string"),
        (lambda table: table.set_column(7, "missingLeft", pa.array([1, 0, 0])), "missingLeft is int64"),
    ],
)
def test_tables_of_another_form_are_refused(change: Callable[[pa.Table], pa.Table], reason: str) -> None:
    loose = pa.schema([field.with_nullable(True) for field in NODES_SCHEMA])
    assert reason in refused(change(pa.Table.from_pylist(STUMP, loose)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("format", 2), ("numTrees", 2), ("numTrees", None), ("numClasses", 4), ("numFeatures", 3)],
        *[("missing", 0.0), ("missing", None), ("missing", "x" * 10_000)],
        *[
            ("baseMargins", value)
            for value in (None, [], [0.0] * 4, "abc", [0, 0, None], [0, 0, True], [0, 0, 10**400])
        ],
        *[("baseMargins", [0.0, 0.0, value]) for value in (float("nan"), float("inf"), 1e39)],
    ],
)
def test_metadata_of_another_model_is_refused(name: str, value: Any) -> None:
    assert name in refused(STUMP, **{name: value})


def test_a_table_that_unpacks_to_too_much_is_not_unpacked() -> None:
    loose = pa.table(
        {
            field.name: pa.nulls(1, field.type).fill_null(0 if field.type != pa.bool_() else False)
            for field in NODES_SCHEMA
        }
    )
    many = pa.concat_tables([loose] * 1).take(pa.array(np.zeros(1_500_000, dtype=np.int32)))
    assert "unpacks to more than" in refused(many)
