"""A trained bundle, read without Spark: verified files in, encoders and model out.

The folder is what training publishes: `info` (JSON) and the four Spark ML folders of paths.BUNDLE_FOLDERS, of Spark 2.1
or any later one. Every file is read once; the bytes whose checksum was verified are the bytes that are decoded, so a
run that is replaced or changed meanwhile cannot slip in. Nothing in a bundle is ever executed. The public sample's
bundles list no checksums, and are read as they are.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from loadcast import paths, schema
from loadcast.artefacts.document import MAX_BYTES
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError
from loadcast.kernels.encode import Encoders
from loadcast.kernels.features.public_sample import DAY_NAMES, DAY_OF_WEEK_COLUMN
from loadcast.models.model import Model
from loadcast.models.rearranged import rearranged
from loadcast.models.registry import feature_importance, load_model
from loadcast.models.saved import TRAIN_AGAIN, SavedFiles
from loadcast.printable import printable
from loadcast.serving.encoder_stages import KEEP, Indexer, OneHot, read_indexers, read_one_hots, read_scaler
from loadcast.serving.vector_layout import arrangement
from loadcast.storage.checksum import data_files

MAX_FILE_BYTES = 1 << 30
MAX_BUNDLE_BYTES = 2 << 30
MAX_FILES = 10_000
_SHOWN = 5
_WHOLE = re.compile(r"-?\d{1,10}", re.ASCII)
_FOLDER_REMEDY = f"Name a folder that holds `{paths.INFO}`, as training leaves it, or fetch the model again."
_FETCH_AGAIN = "Fetch the model again."
_SAMPLE_REMEDY = "Copy the folder whole from where it was trained, or run ETL and training of loadcast."


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle: where it was read (links resolved), its `info`, and the model.

    `unseen`: the categorical columns whose levels that training never saw are not kept, and whether such a row is
    skipped or an error. `has_day_names`: whether the column dayofweek was of names such as Monday.
    """

    folder: Path
    info: Info
    encoders: Encoders
    model: Model
    unseen: Mapping[str, str] = field(default_factory=dict)
    has_day_names: bool = False


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and verify the bundle at `path`, a bundle folder or an output folder whose `model` link leads to one.

    Raises ArtefactError, of one printable line, when anything is missing, changed, unlisted, too large, or not what
    this version expects.
    """
    try:
        return _loaded(bundle_folder(Path(path)))
    except ArtefactError as exc:
        # Names of files, columns and levels are another's.
        raise ArtefactError(printable(str(exc))) from exc


def importance_of(path: str | os.PathLike[str]) -> dict[str, float] | None:
    """The share of each feature, by its name, in what the bundle's model has learned, whatever columns it became.

    None where the model's family does not know. Raises ArtefactError as load_bundle does.
    """
    info, files = _info_and_files(bundle_folder(Path(path)))
    indexers = read_indexers(files)
    one_hots = read_one_hots(files, indexers) if info.column_for_encode else {}
    widths = [one_hots[name].n_slots if name in one_hots else 1 for name in info.feature_columns]
    with files.reading(paths.FOREST_MODEL):
        shares = feature_importance(files, sum(widths))
    if shares is None:
        return None
    known = {*info.features.names, *info.features.categories}
    features = {column: name for name in known for column in _columns_of(name)}
    found: dict[str, float] = {}
    for name, part in zip(info.feature_columns, np.split(shares, np.cumsum(widths)[:-1]), strict=True):
        feature = features.get(name, name)
        found[feature] = found.get(feature, 0.0) + float(part.sum())
    return found


def _columns_of(feature: str) -> tuple[str, ...]:
    """The columns that a feature may become in a model's vector."""
    return feature, schema.indexed(feature), schema.encoded(feature), schema.scaled(feature)


def _loaded(folder: Path) -> Bundle:
    info, files = _info_and_files(folder)
    indexers = read_indexers(files)
    one_hots = read_one_hots(files, indexers) if info.column_for_encode else {}
    by_column, has_day_names = _by_column(files, indexers, info)
    encoders = _encoders(files, info, {name: indexer.levels for name, indexer in by_column.items()})
    _check_names(files, info, encoders, by_column, one_hots)
    arranged = arrangement(encoders, info.feature_columns, one_hots)
    with files.reading(paths.FOREST_MODEL):
        model = rearranged(load_model(files, len(arranged.columns)), arranged)
    unseen = {name: indexer.unseen for name, indexer in by_column.items() if indexer.unseen != KEEP}
    return Bundle(folder, info, encoders, model, unseen, has_day_names)


def _info_and_files(folder: Path) -> tuple[Info, SavedFiles]:
    """What a bundle says of itself, and its files, verified where it lists their checksums."""
    info = Info.parse(_read_bytes(folder, paths.INFO, MAX_BYTES, _FOLDER_REMEDY), f"{paths.INFO} in {folder}")
    if info.is_of_public_sample and not info.files:
        files = SavedFiles(folder, _unlisted_files(folder), _SAMPLE_REMEDY)
        # What the service calls the model's version is made of these.
        sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.files.items()}
        return info.model_copy(update={"files": sums}), files
    return info, SavedFiles(folder, _verified_files(folder, info), TRAIN_AGAIN)


def bundle_folder(path: Path) -> Path:
    """The folder of a bundle, where a path leads to it by an output's link; links resolved. Raises ArtefactError."""
    link = path / paths.MODEL
    try:
        # Resolved once: a run published while we read cannot mix its files with those of the run before.
        return (link if os.path.lexists(link) else path).resolve(strict=True)
    except (OSError, RuntimeError):  # which names a part of the path, and that may be a part of a misplaced key
        raise ArtefactError(f"There is no model in {path}. Train one, or name the folder that holds `info`.") from None


def _read_bytes(folder: Path, name: str, limit: int, remedy: str) -> bytes:
    """Bytes of one file inside `folder`; refuses what lies outside, is no plain file, or is larger than `limit`."""
    try:
        file = (folder / name).resolve(strict=True)
        if not file.is_relative_to(folder) or not file.is_file():
            raise ArtefactError(f"{name} in {folder} leads outside it or is no plain file. {remedy}")
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except (OSError, RuntimeError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ArtefactError(f"{name} in {folder} cannot be read ({reason}). {remedy}") from exc
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
    files = _read_files(folder, wanted, _FETCH_AGAIN)
    changed = [name for name, data in files.items() if hashlib.sha256(data).hexdigest() != wanted[name]]
    if changed:
        raise ArtefactError(f"{folder} was changed after training: {_some(changed)}. Fetch the model again.")
    return files


def _unlisted_files(folder: Path) -> dict[str, bytes]:
    """The files of a bundle whose `info` is of a time before checksums."""
    names = data_files(folder, paths.BUNDLE_FOLDERS)
    if len(names) > MAX_FILES:
        raise ArtefactError(f"{folder} holds more than {MAX_FILES:,} files of a model. {_SAMPLE_REMEDY}")
    return _read_files(folder, names, _SAMPLE_REMEDY)


def _read_files(folder: Path, names: Iterable[str], remedy: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MAX_BUNDLE_BYTES
    for name in names:
        files[name] = _read_bytes(folder, name, min(MAX_FILE_BYTES, left), remedy)
        left -= len(files[name])
    return files


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _by_column(files: SavedFiles, indexers: Mapping[str, Indexer], info: Info) -> tuple[dict[str, Indexer], bool]:
    """The indexers by the categorical column they are for, those of days by number; and whether these had names."""
    known = {schema.indexed(name): name for name in info.features.categories}
    by_column = {known.get(output, output): indexer for output, indexer in indexers.items()}
    if len(by_column) < len(indexers):
        raise files.fault(paths.STRING_INDEX_MODEL, "indexes a column more than once")
    days = by_column.get(DAY_OF_WEEK_COLUMN)
    if days is None or all(_WHOLE.fullmatch(level) for level in days.levels):
        return by_column, False
    numbers = {name: str(number) for number, name in enumerate(DAY_NAMES, 1)}
    strange = [level for level in days.levels if level not in numbers]
    if strange:
        raise files.fault(
            paths.STRING_INDEX_MODEL,
            f"has the {DAY_OF_WEEK_COLUMN} {strange[0][:100]!r}, wanted {DAY_NAMES[0]} to {DAY_NAMES[-1]}, or numbers",
        )
    numbered = Indexer(days.column, days.output, tuple(numbers[level] for level in days.levels), days.unseen)
    return {**by_column, DAY_OF_WEEK_COLUMN: numbered}, True


def _encoders(files: SavedFiles, info: Info, levels: Mapping[str, tuple[str, ...]]) -> Encoders:
    mean, std = read_scaler(files, len(info.features.scaled))
    with np.errstate(over="ignore"):
        scale = np.divide(1.0, std, out=np.zeros_like(std), where=std != 0)
    only_indexed, for_encode = tuple(info.column_only_indexed), tuple(info.column_for_encode)
    try:
        return Encoders(info.features, levels, only_indexed, for_encode, mean, scale)
    except ArtefactError as exc:
        raise ArtefactError(f"{paths.INFO} and encoders in {files.origin}: {exc}") from exc


def _check_names(
    files: SavedFiles,
    info: Info,
    encoders: Encoders,
    by_column: Mapping[str, Indexer],
    one_hots: Mapping[str, OneHot],
) -> None:
    """Refuse stages that read or make other columns than the vector in `info` wants."""
    swapped = [name for name, indexer in by_column.items() if indexer.column != name]
    if swapped:
        raise files.fault(paths.STRING_INDEX_MODEL, f"makes {by_column[swapped[0]].output} of another column")
    wanted = {schema.encoded(name): schema.indexed(name) for name in encoders.for_encode}
    made = {one_hot.output: one_hot.column for one_hot in one_hots.values()}
    if made != wanted:
        output = min(set(made.items()) ^ set(wanted.items()))[0]
        raise files.fault(paths.ONE_HOT_MODEL, f"does not make {output[:100]} as {paths.INFO} says")
    vector = encoders.vector
    if sorted(info.feature_columns) != sorted(vector):
        raise ArtefactError(
            f"{paths.INFO}: featureColumns are not those this version of loadcast builds "
            f"({len(vector)}, from {vector[0]} to {vector[-1]}), in any order. {files.remedy}"
        )
