"""A trained bundle, read without Spark: verified files in, encoders and model out.

The folder is what training publishes: `info` (JSON) and the four Spark ML folders of paths.BUNDLE_FOLDERS. Every file
is read once; the bytes whose checksum was verified are the bytes that are decoded, so a run that is replaced or changed
meanwhile cannot slip in. Nothing in a bundle is ever executed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from loadcast import paths, schema
from loadcast.artefacts.document import MAX_BYTES
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError
from loadcast.kernels.encode import Encoders
from loadcast.kernels.features import FeatureSet
from loadcast.models.model import Floats, Model
from loadcast.models.registry import load_model
from loadcast.models.saved import SavedFiles, demand, params_of
from loadcast.storage.checksum import data_files

MAX_FILE_BYTES = 1 << 30
MAX_BUNDLE_BYTES = 2 << 30
MAX_FILES = 10_000
_SHOWN = 5
_DENSE = 1  # the type tag of a dense vector in Spark's Parquet form; 0 is sparse


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle: where it was read (links resolved), its `info`, and the model."""

    folder: Path
    info: Info
    encoders: Encoders
    model: Model


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and verify the bundle at `path`, a bundle folder or an output folder whose `model` link leads to one.

    Raises ArtefactError when anything is missing, changed, unlisted, too large, or not what this version expects.
    """
    folder = bundle_folder(Path(path))
    info = Info.parse(_read_bytes(folder, paths.INFO, MAX_BYTES), f"{paths.INFO} in {folder}")
    files = SavedFiles(folder, _verified_files(folder, info))
    try:
        encoders = _read_encoders(files, info)
        model = load_model(files, encoders.n_features)
    except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as exc:
        raise ArtefactError(
            f"The model in {folder} is not in the form that Spark ML 3.5 or 4 saves "
            f"({type(exc).__name__}: {str(exc)[:200]}). Train again, or fetch it once more."
        ) from exc
    return Bundle(folder, info, encoders, model)


def bundle_folder(path: Path) -> Path:
    """The folder of a bundle, where a path leads to it by an output's link; links resolved. Raises ArtefactError."""
    link = path / paths.MODEL
    try:
        # Resolved once: a run published while we read cannot mix its files with those of the run before.
        return (link if os.path.lexists(link) else path).resolve(strict=True)
    except (OSError, RuntimeError):  # which names a part of the path, and that may be a part of a misplaced key
        raise ArtefactError(f"There is no model in {path}. Train one, or name the folder that holds `info`.") from None


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


def _verified_files(folder: Path, info: Info) -> dict[str, bytes]:
    """The bundle's files, each equal to its checksum in `info`."""
    listed = info.files
    if len(listed) > MAX_FILES:
        raise ArtefactError(f"{paths.INFO} in {folder} lists more than {MAX_FILES:,} files. Train again.")
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


def _read_encoders(files: SavedFiles, info: Info) -> Encoders:
    only_indexed, for_encode = tuple(info.column_only_indexed), tuple(info.column_for_encode)
    features = info.features
    levels = _read_levels(files, features)
    mean, std = _read_scaler(files, features)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std != 0)
    encoders = Encoders(features, levels, only_indexed, for_encode, mean, scale)
    if for_encode:
        _check_one_hot(files, encoders)
    wanted = encoders.vector
    if tuple(info.feature_columns) != wanted:
        raise ArtefactError(
            f"{paths.INFO}: featureColumns are not those this version of loadcast builds "
            f"({len(wanted)}, from {wanted[0]} to {wanted[-1]}). Train again."
        )
    return encoders


def _read_levels(files: SavedFiles, features: FeatureSet) -> dict[str, tuple[str, ...]]:
    stage = files.stage(paths.STRING_INDEX_MODEL)
    params = params_of(files.metadata(stage, "StringIndexerModel"))
    demand(params, paths.STRING_INDEX_MODEL, handleInvalid="keep")
    labels = files.row(f"{stage}/data")["labelsArray"]
    by_output = dict(zip(params["outputCols"], labels, strict=True))
    known: dict[str, str] = {schema.indexed(name): name for name in features.categories}
    return {known.get(str(column), str(column)): tuple(map(str, levels)) for column, levels in by_output.items()}


def _check_one_hot(files: SavedFiles, encoders: Encoders) -> None:
    stage = files.stage(paths.ONE_HOT_MODEL)
    params = params_of(files.metadata(stage, "OneHotEncoderModel"))
    demand(
        params,
        paths.ONE_HOT_MODEL,
        dropLast=True,
        inputCols=[schema.indexed(name) for name in encoders.for_encode],
        outputCols=[schema.encoded(name) for name in encoders.for_encode],
    )
    # One category more than levels, for the unseen; dropping the last leaves one slot per level.
    wanted = [len(encoders.levels[name]) + 1 for name in encoders.for_encode]
    sizes = files.row(f"{stage}/data")["categorySizes"]
    if sizes != wanted:
        raise ArtefactError(
            f"{paths.ONE_HOT_MODEL}: sizes {str(sizes)[:100]} do not fit {paths.STRING_INDEX_MODEL}. Train again."
        )


def _read_scaler(files: SavedFiles, features: FeatureSet) -> tuple[Floats, Floats]:
    params = params_of(files.metadata(paths.SCALE_MODEL, "StandardScalerModel"))
    demand(params, paths.SCALE_MODEL, withMean=True, withStd=True)
    row = files.row(f"{paths.SCALE_MODEL}/data")
    return _vector(row["mean"], features), _vector(row["std"], features)


def _vector(value: Mapping[str, Any], features: FeatureSet) -> Floats:
    if value["type"] == _DENSE:
        return np.array(value["values"], dtype=np.float64)
    if not 0 <= value["size"] <= len(features.scaled):
        raise ArtefactError(f"{paths.SCALE_MODEL}: a vector of size {value['size']}. Train again.")
    dense = np.zeros(value["size"])
    dense[value["indices"]] = value["values"]
    return dense
