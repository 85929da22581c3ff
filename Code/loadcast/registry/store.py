"""The model store: bundles and parts of bundles, each whole or not there, in a folder that its content names.

A part is one of the five that the documented walk-through registers one by one, such as `mlModel` or `info`; a
manifest puts them together.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadcast import paths
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.registry.locations import model_store
from loadcast.secrets import shown
from loadcast.serving.bundle import MAX_BUNDLE_BYTES, MAX_FILES, Bundle, load_bundle
from loadcast.storage.checksum import data_files, sha256_of_files
from loadcast.storage.named import folder_of
from loadcast.system.locks import locked

#: What a whole bundle is called among the parts.
BUNDLE = "bundle"
_STAGING = ".staging-"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Stored:
    """What the store holds: its digest, which is also its folder's name, and the part it is, or `bundle`."""

    digest: str
    part: str
    folder: Path


def keep(project: Path, source: str) -> Stored:
    """Bring a model into the project's store, unless it is there.

    `source` is a bundle, an output, a container or a configuration, as `loadcast serve` takes them; or one part of a
    bundle, by its name there. What is a whole bundle is loaded as the service would. Raises LoadcastError.
    """
    part, folder = _located(source)
    store = model_store(project)
    with locked(store):
        for name in os.listdir(store):
            if name.startswith(_STAGING):  # of a registration that was killed: its lock was free
                shutil.rmtree(store / name, ignore_errors=True)
        return _keep(store, folder, part)


def _keep(store: Path, folder: Path, part: str) -> Stored:
    with _staging(store) as staged:
        _copy(folder, staged, _members(part))
        _check(part, staged)
        digest = _digest(staged)
        target = store / digest
        if target.exists() and _digest(target) != digest:  # it was changed there: this one is whole
            shutil.rmtree(target)
        if not target.exists():
            os.replace(staged, target)
    return Stored(digest, part, target)


def stored(project: Path, digest: str, part: str) -> Stored:
    """What the store holds under a digest. Raises ArtefactError where it is missing or not what it was."""
    folder = model_store(project) / digest
    if not (_DIGEST.fullmatch(digest) and folder.is_dir()):
        raise ArtefactError(f"The model store has no {shown(digest, 70)}: its folder was removed. Register it again.")
    if _digest(folder) != digest:
        raise ArtefactError(f"{folder} was changed after it was registered. Register the model again.")
    return Stored(digest, part, folder)


def put_together(parts: Iterable[Stored], target: Path) -> Bundle:
    """Copy a bundle, or the parts that make one, into a new folder, and load it. Raises LoadcastError."""
    parts = list(parts)
    names = [part.part for part in parts]
    wanted = (*paths.BUNDLE_FOLDERS, paths.INFO)
    if names != [BUNDLE] and sorted(names) != sorted(wanted):
        raise ConfigError(
            f"models: found {', '.join(sorted(names)) or 'none'}, wanted one whole bundle, or each of its parts once: "
            f"{', '.join(wanted)}."
        )
    for part in parts:
        _copy(part.folder, target, _members(part.part))
    return load_bundle(target)


def copied(bundle: Stored, target: Path) -> None:
    """Copy what is stored to `target`, which may be there as an empty folder. Raises OutputError."""
    target = Path(os.path.abspath(target))
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise OutputError(f"{target} is there already. Choose a new or empty folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make {target.parent}: {error.strerror or error}.") from error
    with _staging(target.parent) as staged:
        _copy(bundle.folder, staged, _members(bundle.part))
        if _digest(staged) != bundle.digest:
            raise ArtefactError(f"{bundle.folder} changed while it was copied. Download it again.")
        os.replace(staged, target)


def _located(source: str) -> tuple[str, Path]:
    """The part that a path names, and the folder that it lies in; a whole bundle's own folder."""
    path = Path(os.path.abspath(source))
    is_part = path.name in paths.BUNDLE_FOLDERS and path.is_dir() and not (path / paths.INFO).exists()
    if is_part or (path.name == paths.INFO and path.is_file()):
        return path.name, path.parent
    folder = folder_of(source, paths.MODEL, paths.BUNDLE)
    link = folder / paths.MODEL
    folder = link if os.path.lexists(link) else folder
    if not folder.is_dir():
        raise ArtefactError(f"There is no model in {folder}. Train one, or name the folder that holds `info`.")
    return BUNDLE, folder.resolve()


def _members(part: str) -> tuple[str, ...]:
    """What of a bundle belongs to a part: `info` lists metrics.json, so it goes with it."""
    return {BUNDLE: paths.BUNDLE, paths.INFO: (paths.INFO, paths.METRICS)}.get(part, (part,))


def _copy(source: Path, target: Path, members: Iterable[str]) -> None:
    """Copy these files and folders of a bundle, none that leads outside it. Raises ArtefactError or OutputError."""
    root, left = source.resolve(), MAX_BUNDLE_BYTES
    names = data_files(root, members)
    if len(names) > MAX_FILES:
        raise ArtefactError(f"{source} holds more than {MAX_FILES:,} files, which no model of loadcast has.")
    for name in names:
        file = (root / name).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            raise ArtefactError(f"{shown(name, 200)} in {source} leads outside it or is no plain file.")
        left -= file.stat().st_size
        if left < 0:
            raise ArtefactError(f"{source} is larger than {MAX_BUNDLE_BYTES:,} bytes, which no model of loadcast is.")
        try:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / name)
        except OSError as error:
            raise OutputError(f"Cannot copy {file} to {target}: {error.strerror or error}.") from error


def _check(part: str, folder: Path) -> None:
    if part == BUNDLE:
        load_bundle(folder)
    elif part == paths.INFO:
        Info.read(folder)
    elif not data_files(folder, [f"{part}/metadata"]):
        raise ArtefactError(f"{part} holds no metadata, as Spark ML writes it. Name a folder of a trained model.")


def _digest(folder: Path) -> str:
    """One SHA-256 over the names and the SHA-256 of all files: what `info` lists, and `info` itself."""
    try:
        sums = sha256_of_files(folder, paths.BUNDLE)
    except OSError as error:
        raise ArtefactError(f"{folder} cannot be read: {error.strerror or error}.") from error
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """A new folder beside what will be there, for the block; it goes where it was not renamed."""
    folder = parent / f"{_STAGING}{secrets.token_hex(6)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"Cannot write in {parent}: {error.strerror or error}. Make room for it.") from error
    try:
        yield folder
    except OSError as error:
        raise OutputError(f"Cannot write in {parent}: {error.strerror or error}. Make room for it.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
