"""Bundles as Spark 2.1 and later have saved them, written without Spark, each with a plain oracle of its answers."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import artefact_files
import classic
from bundles import N_CLASSES, NODE_DATA, NODES, VECTOR, levels_of, random_tree
from loadcast import paths, schema
from loadcast.storage.checksum import sha256_of_files
from plain_forest import Tree, oracle

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ML = "org.apache.spark.ml"
_SAMPLE_HISTORY = (*classic.ROLLING_COLUMNS, *classic.LAG_COLUMNS)


@dataclass(frozen=True)
class Layout:
    """What differs from one Spark, and one use of it, to another.

    `by_column`: a stage for each column, and not one for all. `hot_class`: OneHotEncoder of Spark 2 has no data.
    `info`: json, or that of the public sample as a pickle or as JSON; with it come its order and its names of days.
    """

    spark: str
    by_column: bool = False
    labels: str = "labelsArray"
    invalid: str = "keep"
    hot_class: str = "OneHotEncoderModel"
    hot_invalid: str = "error"
    drop_last: bool = True
    with_mean: bool = True
    with_std: bool = True
    info: str = "json"
    reverse: bool = False
    n_parts: int = 2

    @property
    def is_sample(self) -> bool:
        return self.info != "json"

    @property
    def major(self) -> int:
        return int(self.spark.split(".")[0])


#: The public sample's own, and what later versions of Spark, and other uses of them, make of the same data.
SAMPLE = Layout(
    "2.1.1.2.6.1.3-4",
    by_column=True,
    labels="labels",
    invalid="skip",
    hot_class="OneHotEncoder",
    with_mean=False,
    info="pickle",
    n_parts=1_000,
)
_SPARK_2 = {"by_column": True, "labels": "labels"}
LAYOUTS = {
    "2.1, the public sample": SAMPLE,
    "2.1, the public sample's info as JSON": Layout(
        "2.1.1", **_SPARK_2, invalid="skip", hot_class="OneHotEncoder", with_mean=False, info="sample JSON"
    ),
    "2.1, an unseen level is an error": Layout("2.1.0", **_SPARK_2, invalid="error", hot_class="OneHotEncoder"),
    "2.2, all levels have a slot": Layout("2.2.3", **_SPARK_2, hot_class="OneHotEncoder", drop_last=False),
    "2.3, encoders are models": Layout("2.3.4", **_SPARK_2, with_std=False),
    "2.4, encoders keep what is invalid": Layout("2.4.8", **_SPARK_2, invalid="skip", hot_invalid="keep"),
    "3.0, a stage for each column": Layout("3.0.3", by_column=True, invalid="skip", n_parts=5),
    "3.5, no slot is dropped": Layout("3.5.7", invalid="error", drop_last=False),
    "4.0, a slot for unseen levels": Layout("4.0.1", drop_last=False),
    "4.1, kept twice": Layout("4.1.0", drop_last=False, hot_invalid="keep", reverse=True),
    "4.3, in another order": Layout("4.3.0", reverse=True),
}


@dataclass(eq=False)
class MadeBundle:
    """A bundle in `folder`, and what is in it."""

    folder: Path
    layout: Layout
    levels: dict[str, tuple[str, ...]]
    mean: dict[str, float]
    std: dict[str, float]
    vector: tuple[str, ...]
    trees: list[Tree] = field(default_factory=list)

    def expected(self, record: dict[str, Any]) -> tuple[int, list[float]] | None:
        """Spark's label and the classes' probabilities for a record of loadcast's; None where Spark gives none."""
        row: list[float] = []
        for name in self.vector:
            column = name.removeprefix("scaled").removesuffix("_encoded").removesuffix("_indexed")
            if name.startswith("scaled"):
                row.append(self._scaled(column, record[column]))
            elif name == classic.LINEAR_TREND:
                row.append(record[column])
            else:
                cells = self._category(column, self._level(column, record), name.endswith("_encoded"))
                if cells is None:
                    return None
                row += cells
        label, shares = oracle(self.trees, row)
        return label, shares[1:]

    def slots(self, column: str) -> int:
        """Length of a column's one-hot vector."""
        size = len(self.levels[column]) + (self.layout.invalid == "keep")
        keeps = self.layout.hot_class == "OneHotEncoderModel" and self.layout.hot_invalid == "keep"
        return size + keeps - self.layout.drop_last

    def _level(self, column: str, record: dict[str, Any]) -> str:
        value = record[column]
        return DAYS[value - 1] if self.layout.is_sample and column == "dayofweek" else str(value)

    def _category(self, column: str, level: str, is_encoded: bool) -> list[float] | None:
        levels = self.levels[column]
        if level not in levels and self.layout.invalid != "keep":
            return None
        index = levels.index(level) if level in levels else len(levels)
        return [float(index == slot) for slot in range(self.slots(column))] if is_encoded else [float(index)]

    def _scaled(self, column: str, value: float) -> float:
        if self.layout.with_mean:
            value -= self.mean[column]
        if self.layout.with_std:
            value *= 1.0 / self.std[column] if self.std[column] else 0.0
        return value


def write_layout(folder: Path, training: pa.Table, layout: Layout, seed: int = 0) -> MadeBundle:
    """A bundle of random trees in the layout; `folder` must not exist yet."""
    levels = levels_of(training)
    if layout.is_sample:
        levels["dayofweek"] = tuple(DAYS[int(level) - 1] for level in levels["dayofweek"])
    only = tuple(name for name in classic.CATEGORICAL_COLUMNS if len(levels[name]) < 2)
    encode = tuple(name for name in classic.CATEGORICAL_COLUMNS if name not in only)
    history = _SAMPLE_HISTORY if layout.is_sample else classic.HISTORY_COLUMNS
    values = {name: training.column(name).to_numpy() for name in history}
    made = MadeBundle(
        folder,
        layout,
        levels,
        {name: float(column.mean()) for name, column in values.items()},
        {name: float(column.std(ddof=1)) for name, column in values.items()},
        _vector(layout, only, encode, history),
    )
    _write_indexers(made)
    _write_encoders(made, encode)
    scaler = {"withMean": layout.with_mean, "withStd": layout.with_std}
    _write_metadata(folder / paths.SCALE_MODEL, layout, f"{_ML}.feature.StandardScalerModel", scaler)
    write_table(folder / paths.SCALE_MODEL / "data", _scaler(made))
    _write_forest(made, np.random.default_rng(seed))
    _write_info(made, only, encode)
    return made


def relist(made: MadeBundle) -> None:
    """Write the checksums of changed files into `info`."""
    if not made.layout.is_sample:
        info = json.loads((made.folder / paths.INFO).read_text())
        info["files"] = sha256_of_files(made.folder, paths.BUNDLE_FOLDERS)
        (made.folder / paths.INFO).write_text(json.dumps(info))


def as_sample_client(record: dict[str, Any]) -> dict[str, Any]:
    """A record as the public sample's client sends it."""
    return {**record, "dayofweek": DAYS[record["dayofweek"] - 1]}


def write_table(folder: Path, table: pa.Table, number: int = 0) -> Path:
    """Write a part of a table."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"part-{number:05d}-1b.snappy.parquet"
    pq.write_table(table, file, compression="snappy")
    return file


def stage_folder(made: MadeBundle, of: str, number: int = 0) -> Path:
    """Folder of a stage of a pipeline."""
    return sorted((made.folder / of / "stages").iterdir())[number]


def _vector(
    layout: Layout, only: tuple[str, ...], encode: tuple[str, ...], history: tuple[str, ...]
) -> tuple[str, ...]:
    categories = (*map(schema.indexed, only), *map(schema.encoded, encode))
    scaled = tuple(map(schema.scaled, history))
    if layout.is_sample:
        return (classic.LINEAR_TREND, *categories, *scaled)
    vector = (*categories, classic.LINEAR_TREND, *scaled)
    return vector[::-1] if layout.reverse else vector


def _write_metadata(folder: Path, layout: Layout, kind: str, params: dict[str, Any], **more: Any) -> None:
    (folder / "metadata").mkdir(parents=True)
    defaults = {} if layout.spark < "2.4" else {"defaultParamMap": {}}
    about = {"class": kind, "timestamp": 1505619100371, "sparkVersion": layout.spark, "uid": "u_4a"}
    text = json.dumps({**about, "paramMap": params, **defaults, **more})
    (folder / "metadata" / "part-00000").write_text(text + "\n")
    (folder / "metadata" / "_SUCCESS").touch()


def _write_pipeline(
    folder: Path, layout: Layout, kind: str, stages: list[dict[str, Any]], data: list[pa.Table]
) -> None:
    uids = [f"{kind}_4a{number:x}" for number in range(len(stages))]
    _write_metadata(folder, layout, f"{_ML}.PipelineModel", {"stageUids": uids})
    for number, (uid, params) in enumerate(zip(uids, stages, strict=True)):
        stage = folder / "stages" / f"{number:0{len(str(len(stages)))}d}_{uid}"
        _write_metadata(stage, layout, f"{_ML}.feature.{kind}", params)
        if data:
            write_table(stage / "data", data[number])


def _columns(inputs: list[str], outputs: list[str], by_column: bool) -> list[dict[str, Any]]:
    if not by_column:
        return [{"inputCols": inputs, "outputCols": outputs}]
    return [{"inputCol": one, "outputCol": other} for one, other in zip(inputs, outputs, strict=True)]


def _write_indexers(made: MadeBundle) -> None:
    layout, names = made.layout, list(classic.CATEGORICAL_COLUMNS)
    columns = _columns(names, [*map(schema.indexed, names)], layout.by_column)
    stages = [{**params, "handleInvalid": layout.invalid} for params in columns]
    lists = [list(made.levels[name]) for name in names]
    rows: list[Any] = lists if layout.by_column else [lists]
    if layout.by_column and layout.labels == "labelsArray":
        rows = [[levels] for levels in lists]
    data = [pa.Table.from_pylist([{layout.labels: row}]) for row in rows]
    _write_pipeline(made.folder / paths.STRING_INDEX_MODEL, layout, "StringIndexerModel", stages, data)


def _write_encoders(made: MadeBundle, encode: tuple[str, ...]) -> None:
    layout = made.layout
    is_model = layout.hot_class == "OneHotEncoderModel"
    by_column = layout.by_column and not is_model
    columns = _columns([*map(schema.indexed, encode)], [*map(schema.encoded, encode)], by_column)
    stages = [{**params, "dropLast": layout.drop_last} for params in columns]
    if not is_model:
        return _write_pipeline(made.folder / paths.ONE_HOT_MODEL, layout, layout.hot_class, stages, [])
    stages = [{**params, "handleInvalid": layout.hot_invalid} for params in stages]
    sizes = [len(made.levels[name]) + (layout.invalid == "keep") for name in encode]
    data = [pa.table({"categorySizes": pa.array([sizes], pa.list_(pa.int32()))})]
    return _write_pipeline(made.folder / paths.ONE_HOT_MODEL, layout, layout.hot_class, stages, data)


def _scaler(made: MadeBundle) -> pa.Table:
    std, mean = list(made.std.values()), list(made.mean.values())
    at = [number for number, value in enumerate(std) if value]
    dense = {"type": 1, "size": None, "indices": None, "values": mean}
    sparse = {"type": 0, "size": len(std), "indices": at, "values": [std[number] for number in at]}
    return pa.Table.from_pylist([{"std": sparse, "mean": dense}], pa.schema([("std", VECTOR), ("mean", VECTOR)]))


def nodes_schema(layout: Layout) -> pa.Schema:
    """Columns of the trees: Spark 3 has added rawCount."""
    if layout.major > 2:
        return NODES
    return pa.schema([("treeID", pa.int32()), ("nodeData", pa.struct([f for f in NODE_DATA if f.name != "rawCount"]))])


def _write_forest(made: MadeBundle, rng: np.random.Generator, n_trees: int = 12) -> None:
    layout, folder = made.layout, made.folder / paths.FOREST_MODEL
    categories: list[int] = []
    for name in made.vector:
        column = name.removesuffix("_encoded").removesuffix("_indexed")
        categories += [2] * made.slots(column) if name.endswith("_encoded") else [2 if column in made.levels else -1]
    made.trees = [random_tree(rng, 6, categories) for _ in range(n_trees)]
    sizes = {"numFeatures": len(categories), "numClasses": N_CLASSES, "numTrees": n_trees}
    _write_metadata(folder, layout, f"{_ML}.classification.RandomForestClassificationModel", {"maxDepth": 8}, **sizes)
    columns = nodes_schema(layout)
    write_parts(folder / "data", _node_table(made.trees, columns), layout.n_parts)
    names = ("_1", "_2", "_3") if layout.major > 3 else ("treeID", "metadata", "weights")
    weights = [dict(zip(names, (number, "{}", 1.0), strict=True)) for number in range(n_trees)]
    write_table(folder / "treesMetadata", pa.Table.from_pylist(weights))


def _node_table(trees: list[Tree], columns: pa.Schema) -> pa.Table:
    rows = [{"treeID": number, "nodeData": node} for number, tree in enumerate(trees) for node in tree]
    # In no order: which task of Spark wrote which node says nothing.
    order = np.random.default_rng(7).permutation(len(rows))
    return pa.Table.from_pylist([rows[number] for number in order], columns)


def write_parts(folder: Path, table: pa.Table, n_parts: int) -> None:
    """Spread a table over files, of which up to five hold rows; the others are empty, as those of idle tasks are."""
    folder.mkdir(parents=True)
    empty = io.BytesIO()
    pq.write_table(table.slice(0, 0), empty, compression="snappy")
    filled = np.linspace(0, n_parts - 1, min(n_parts, 5)).astype(int).tolist()
    pieces = np.linspace(0, table.num_rows, len(filled) + 1).astype(int).tolist()
    for number in range(n_parts):
        if number in filled:
            at = filled.index(number)
            write_table(folder, table.slice(pieces[at], pieces[at + 1] - pieces[at]), number)
        else:
            (folder / f"part-{number:05d}-1b.snappy.parquet").write_bytes(empty.getvalue())


def _write_info(made: MadeBundle, only: tuple[str, ...], encode: tuple[str, ...]) -> None:
    file = made.folder / paths.INFO
    if made.layout.is_sample:
        info = {
            **artefact_files.PUBLIC_SAMPLE_INFO,
            "columnOnlyIndexed": [*map(schema.indexed, only)],
            "columnForEncode": [*map(schema.indexed, encode)],
        }
        file.write_bytes(pickle.dumps(info, 4) if made.layout.info == "pickle" else json.dumps(info).encode())
        return
    files = sha256_of_files(made.folder, paths.BUNDLE_FOLDERS)
    columns = {"columnOnlyIndexed": list(only), "columnForEncode": list(encode), "featureColumns": list(made.vector)}
    artefact_files.write_info(made.folder, **columns, files=files)
