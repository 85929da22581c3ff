"""A trained bundle, read without Spark: verified files in, encoders and forest out.

The folder is what training publishes: `info` (JSON) and the four Spark ML folders of paths.BUNDLE_FOLDERS. Every file
is read once; the bytes whose checksum was verified are the bytes that are decoded, so a run that is replaced or changed
meanwhile cannot slip in. Nothing in a bundle is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadcast import paths, schema
from loadcast.errors import ArtefactError
from loadcast.feature_sets import feature_set_of
from loadcast.kernels.encode import Encoders
from loadcast.kernels.features import FeatureSet
from loadcast.kernels.forest import Floats, Forest, Ints, NodeTable, build_forest
from loadcast.storage.checksum import data_files

MAX_INFO_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30
MAX_BUNDLE_BYTES = 2 << 30
MAX_TABLE_BYTES = 4 << 30
MAX_FILES = 10_000
_SHOWN = 5
_DENSE = 1  # the type tag of a dense vector in Spark's Parquet form; 0 is sparse


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle: where it was read (links resolved), its `info`, and the model."""

    folder: Path
    info: Mapping[str, Any]
    encoders: Encoders
    forest: Forest


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and verify the bundle at `path`, a bundle folder or an output folder whose `model` link leads to one.

    Raises ArtefactError when anything is missing, changed, unlisted, too large, or not what this version expects.
    """
    folder = _bundle_folder(Path(path))
    info = _read_info(folder)
    parts = _Parts(folder, _verified_files(folder, info))
    try:
        encoders = _read_encoders(parts, info)
        forest = _read_forest(parts, encoders)
    except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as exc:
        raise ArtefactError(
            f"The model in {folder} is not in the form that Spark ML 3.5 or 4 saves "
            f"({type(exc).__name__}: {str(exc)[:200]}). Train again, or fetch it once more."
        ) from exc
    return Bundle(folder, info, encoders, forest)


def _bundle_folder(path: Path) -> Path:
    link = path / paths.MODEL
    try:
        # Resolved once: a run published while we read cannot mix its files with those of the run before.
        return (link if os.path.lexists(link) else path).resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise ArtefactError(f"There is no model in {path}. Train one, or name the folder that holds `info`.") from exc


def _read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """Bytes of one file inside `folder`; refuses what lies outside, is no plain file, or is larger than `limit`."""
    try:
        file = (folder / name).resolve(strict=True)
        if not file.is_relative_to(folder) or not file.is_file():
            raise ArtefactError(f"{name} in {folder} leads outside it or is no plain file. Fetch the model again.")
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except (OSError, RuntimeError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ArtefactError(f"{name} in {folder} cannot be read ({reason}). Fetch the model again.") from exc
    if len(data) > limit:
        raise ArtefactError(f"{name} in {folder} is larger than {limit} bytes, which no model of loadcast is.")
    return data


def _read_info(folder: Path) -> dict[str, Any]:
    data = _read_bytes(folder, paths.INFO, MAX_INFO_BYTES)
    try:
        info = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ArtefactError(f"{paths.INFO} in {folder} is not JSON. Train again, or fetch the model again.") from exc
    if not isinstance(info, dict):
        raise ArtefactError(f"{paths.INFO} in {folder} holds a {type(info).__name__}, wanted an object of keys.")
    return info


def _text_list(info: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = info.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ArtefactError(f"{paths.INFO}: {key} is {type(value).__name__}, wanted a list of names. Train again.")
    return tuple(value)


def _verified_files(folder: Path, info: Mapping[str, Any]) -> dict[str, bytes]:
    """The bundle's files, each equal to its checksum in `info`."""
    listed = info.get("files")
    if not isinstance(listed, dict) or len(listed) > MAX_FILES:
        raise ArtefactError(f"{paths.INFO} in {folder} has no usable list `files` of checksums. Train again.")
    for name in listed:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or not name:
            raise ArtefactError(f"{paths.INFO} in {folder} lists {name[:100]!r}, which is no path inside the folder.")
    # A run lists more than the service needs (features, predictions): that stays unread.
    parts = (*paths.BUNDLE_FOLDERS, paths.METRICS)
    wanted = {name: digest for name, digest in listed.items() if PurePosixPath(name).parts[:1] in {(p,) for p in parts}}
    extra = sorted(set(data_files(folder, parts)) - set(wanted))
    if extra:
        raise ArtefactError(f"{folder} holds files that {paths.INFO} does not list: {_some(extra)}. Fetch it again.")
    files, left = {}, MAX_BUNDLE_BYTES
    for name in wanted:
        files[name] = _read_bytes(folder, name, min(MAX_FILE_BYTES, left))
        left -= len(files[name])
    changed = [name for name, data in files.items() if hashlib.sha256(data).hexdigest() != wanted[name]]
    if changed:
        raise ArtefactError(f"{folder} was changed after training: {_some(changed)}. Fetch the model again.")
    return files


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


class _Parts:
    """Spark's folders of part files, among the verified files."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self.folder = folder
        self._files = files

    def _of(self, folder: str) -> list[bytes]:
        found = [
            self._files[name]
            for name in sorted(self._files)
            if str(PurePosixPath(name).parent) == folder and not PurePosixPath(name).name.startswith((".", "_"))
        ]
        if not found:
            raise ArtefactError(f"{self.folder} has no {folder}. Train again, or fetch the model again.")
        return found

    def metadata(self, folder: str, kind: str) -> dict[str, Any]:
        """Metadata of a saved stage, checked to be of class `kind`."""
        lines = b"\n".join(self._of(f"{folder}/metadata")).split(b"\n")
        text = next((line for line in lines if line.strip()), b"{}")
        try:
            data = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as exc:
            raise ArtefactError(f"{folder}/metadata in {self.folder} is not JSON. Train again.") from exc
        found = str(data.get("class", "nothing")) if isinstance(data, dict) else "no object"
        if found.rpartition(".")[2] != kind:
            raise ArtefactError(f"{folder} in {self.folder} holds {found[:100]}, wanted a {kind}. Train again.")
        return dict(data)

    def table(self, folder: str) -> pa.Table:
        """The Parquet rows of a folder."""
        sources = [pq.ParquetFile(pa.BufferReader(data)) for data in self._of(folder)]
        groups = [(file, i) for file in sources for i in range(file.metadata.num_row_groups)]
        if sum(file.metadata.row_group(i).total_byte_size for file, i in groups) > MAX_TABLE_BYTES:
            raise ArtefactError(f"{folder} in {self.folder} unpacks to more than {MAX_TABLE_BYTES} bytes.")
        # Read without threads: gunicorn forks this process, and threads do not survive a fork.
        return pa.concat_tables(file.read(use_threads=False) for file in sources)

    def row(self, folder: str) -> dict[str, Any]:
        """The only row of a folder."""
        rows = self.table(folder).to_pylist()
        if len(rows) != 1:
            raise ArtefactError(f"{folder} in {self.folder} has {len(rows)} rows, wanted 1. Train again.")
        return dict(rows[0])

    def stage(self, folder: str) -> str:
        """Folder of the only stage of a saved PipelineModel."""
        uids = self.metadata(folder, "PipelineModel")["paramMap"]["stageUids"]
        if len(uids) != 1:
            raise ArtefactError(f"{folder} in {self.folder} has {len(uids)} stages, wanted 1. Train again.")
        return f"{folder}/stages/0_{uids[0]}"


def _params(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {**metadata.get("defaultParamMap", {}), **metadata["paramMap"]}


def _demand(params: Mapping[str, Any], folder: str, **wanted: object) -> None:
    """Refuse a stage whose settings would make it compute something else than the kernels do."""
    for name, value in wanted.items():
        if params.get(name) != value:
            raise ArtefactError(f"{folder}: {name} is {params.get(name)!r}, wanted {value!r}. Train again.")


def _read_encoders(parts: _Parts, info: Mapping[str, Any]) -> Encoders:
    only_indexed = _text_list(info, "columnOnlyIndexed")
    for_encode = _text_list(info, "columnForEncode")
    features = feature_set_of(info)
    levels = _read_levels(parts, features)
    mean, std = _read_scaler(parts, features)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std != 0)
    encoders = Encoders(features, levels, only_indexed, for_encode, mean, scale)
    if for_encode:
        _check_one_hot(parts, encoders)
    wanted = encoders.vector
    if _text_list(info, "featureColumns") != wanted:
        raise ArtefactError(
            f"{paths.INFO}: featureColumns are not those this version of loadcast builds "
            f"({len(wanted)}, from {wanted[0]} to {wanted[-1]}). Train again."
        )
    return encoders


def _read_levels(parts: _Parts, features: FeatureSet) -> dict[str, tuple[str, ...]]:
    stage = parts.stage(paths.STRING_INDEX_MODEL)
    params = _params(parts.metadata(stage, "StringIndexerModel"))
    _demand(params, paths.STRING_INDEX_MODEL, handleInvalid="keep")
    labels = parts.row(f"{stage}/data")["labelsArray"]
    by_output = dict(zip(params["outputCols"], labels, strict=True))
    known: dict[str, str] = {schema.indexed(name): name for name in features.categories}
    return {known.get(str(column), str(column)): tuple(map(str, found)) for column, found in by_output.items()}


def _check_one_hot(parts: _Parts, encoders: Encoders) -> None:
    stage = parts.stage(paths.ONE_HOT_MODEL)
    params = _params(parts.metadata(stage, "OneHotEncoderModel"))
    _demand(
        params,
        paths.ONE_HOT_MODEL,
        dropLast=True,
        inputCols=[schema.indexed(name) for name in encoders.for_encode],
        outputCols=[schema.encoded(name) for name in encoders.for_encode],
    )
    # One category more than levels, for the unseen; dropping the last leaves one slot per level.
    wanted = [len(encoders.levels[name]) + 1 for name in encoders.for_encode]
    found = parts.row(f"{stage}/data")["categorySizes"]
    if found != wanted:
        raise ArtefactError(
            f"{paths.ONE_HOT_MODEL}: sizes {str(found)[:100]} do not fit {paths.STRING_INDEX_MODEL}. Train again."
        )


def _read_scaler(parts: _Parts, features: FeatureSet) -> tuple[Floats, Floats]:
    params = _params(parts.metadata(paths.SCALE_MODEL, "StandardScalerModel"))
    _demand(params, paths.SCALE_MODEL, withMean=True, withStd=True)
    row = parts.row(f"{paths.SCALE_MODEL}/data")
    return _vector(row["mean"], features), _vector(row["std"], features)


def _vector(value: Mapping[str, Any], features: FeatureSet) -> Floats:
    if value["type"] == _DENSE:
        return np.array(value["values"], dtype=np.float64)
    if not 0 <= value["size"] <= len(features.scaled):
        raise ArtefactError(f"{paths.SCALE_MODEL}: a vector of size {value['size']}. Train again.")
    dense = np.zeros(value["size"])
    dense[value["indices"]] = value["values"]
    return dense


def _read_forest(parts: _Parts, encoders: Encoders) -> Forest:
    folder = paths.FOREST_MODEL
    metadata = parts.metadata(folder, "RandomForestClassificationModel")
    # Thresholds would make Spark choose the class in another way.
    _demand(_params(metadata), folder, thresholds=None)
    n_classes, n_features = max(schema.CLASS_NAMES) + 1, encoders.n_features
    _demand(metadata, folder, numClasses=n_classes, numFeatures=n_features)
    forest = build_forest(_node_table(parts.table(f"{folder}/data"), n_classes), n_features)
    _demand({"numTrees": forest.n_trees}, folder, numTrees=metadata.get("numTrees"))
    if forest.shares[:, [c for c in range(n_classes) if c not in schema.CLASS_NAMES]].any():
        raise ArtefactError(f"{folder} was trained on labels other than {list(schema.CLASS_NAMES)}. Train again.")
    return forest


def _node_table(table: pa.Table, n_classes: int) -> NodeTable:
    table = table.combine_chunks()
    nodes = table.column("nodeData").combine_chunks()
    if isinstance(nodes, pa.ChunkedArray):
        nodes = nodes.chunk(0)
    split = nodes.field("split")
    values, counts = split.field("leftCategoriesOrThreshold"), nodes.field("impurityStats")
    lengths = np.asarray(counts.value_lengths())
    if not (lengths == n_classes).all():
        raise ArtefactError(f"{paths.FOREST_MODEL}: a node does not count {n_classes} classes. Train again.")
    offsets = np.concatenate([[0], np.cumsum(np.asarray(values.value_lengths()))])

    def integers(array: pa.Array) -> Ints:
        return np.asarray(array).astype(np.intp)

    return NodeTable(
        tree=integers(table.column("treeID").combine_chunks()),
        node=integers(nodes.field("id")),
        left=integers(nodes.field("leftChild")),
        right=integers(nodes.field("rightChild")),
        feature=integers(split.field("featureIndex")),
        categories=integers(split.field("numCategories")),
        split_offsets=offsets.astype(np.intp),
        split_values=np.asarray(values.flatten(), dtype=np.float64),
        counts=np.asarray(counts.flatten(), dtype=np.float64).reshape(-1, n_classes),
    )
