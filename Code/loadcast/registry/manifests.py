"""Manifests: all that a service is made of, kept whole: its script, model, locked packages and loadcast itself.

manifests/NAME/VERSION/
  manifest.json
  requirements.lock   packages, with their hashes
  loadcast/           the package as it was when the manifest was made
  service/            the script, and the files that it needs
  model/              the bundle
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

import loadcast
from loadcast.errors import ArtefactError, ConfigError, OutputError
from loadcast.experiments.conda import read_conda
from loadcast.registry.documents import (
    Numbered,
    Text,
    checked_service_name,
    now,
    read_document,
    read_numbered,
    split_id,
    versions_in,
    write_document,
)
from loadcast.registry.models import content, find_models
from loadcast.registry.settings import current_account
from loadcast.registry.store import put_together
from loadcast.secrets import shown
from loadcast.storage.checksum import sha256_of
from loadcast.system.locks import locked

LOCK, PACKAGE, SERVICE, MODEL = "requirements.lock", "loadcast", "service", "model"
_PARTS = (LOCK, PACKAGE, SERVICE, MODEL)
_LOCK_SOURCE = "requirements-service.lock"
_MOST_FILE_BYTES = 16 << 20
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_WANTED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:==\s*([^\s;]+))?")
Runtime = Literal["python", "spark-py"]


class Manifest(Numbered):
    """What a service is made of. `models` are the ids of the registered models, `digest` a SHA-256 over all files."""

    FILE: ClassVar[str] = "manifest.json"

    script: Text
    runtime: Runtime
    models: tuple[Text, ...]
    made_with: Text
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Asked:
    """What a manifest is to be made of: the script, ids of models, files beside the script, a conda file, a lock."""

    name: str
    script: str
    models: Sequence[str]
    runtime: Runtime = "python"
    files: Sequence[str] = ()
    conda: str | None = None
    lock: str | None = None


def create_manifest(project: Path, asked: Asked) -> Manifest:
    """Make the next manifest of a name, whole or not at all. Raises ConfigError, ArtefactError, OutputError."""
    checked_service_name(asked.name, "The manifest's name")
    lock = _lock(asked)
    versions = find_models(project, asked.models)
    parts = [content(project, version) for version in versions]
    folder = _folder(project, asked.name)
    with locked(folder.parent):
        making = folder / f".making-{secrets.token_hex(6)}"
        try:
            making.mkdir(parents=True)
            (making / LOCK).write_bytes(lock)
            _copy_package(making / PACKAGE)
            _copy_files(making / SERVICE, [asked.script, *asked.files])
            put_together(parts, making / MODEL)
            manifest = Manifest(
                name=asked.name,
                version=max(versions_in(folder), default=0) + 1,
                created=now(),
                script=Path(asked.script).name,
                runtime=asked.runtime,
                models=tuple(version.id for version in versions),
                made_with=loadcast.__version__,
                digest=digest_of(making, _PARTS),
            )
            write_document(making / Manifest.FILE, manifest)
            os.replace(making, folder / str(manifest.version))
        except OSError as error:
            raise OutputError(f"Cannot write in {folder}: {error.strerror or error}. Make room for it.") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return manifest


def find_manifest(project: Path, manifest: str) -> tuple[Manifest, Path]:
    """A manifest by its id, and its folder. Raises ConfigError where there is none, ArtefactError for a changed one."""
    name, version = split_id(manifest, "The manifest")
    folder = _folder(project, name) / str(version)
    known = read_document(Manifest, folder / Manifest.FILE)
    if known is None:
        raise ConfigError(f"There is no manifest {manifest}. These are there: loadcast manifest list")
    if digest_of(folder, _PARTS) != known.digest:
        raise ArtefactError(f"{folder} was changed after the manifest was made. Make another manifest.")
    return known, folder


def list_manifests(project: Path) -> list[Manifest]:
    """All manifests of the account, by name and version. Raises ArtefactError."""
    return read_numbered(Manifest, current_account(project) / "manifests", f"{{}}/{Manifest.FILE}")


def digest_of(folder: Path, parts: Iterable[str]) -> str:
    """SHA-256 over the paths and contents of the files in these parts of a folder."""
    lines = []
    for part in parts:
        top = folder / part
        for file in [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file()):
            with file.open("rb") as stream:
                lines.append(f"{sha256_of(stream)}  {file.relative_to(folder).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _folder(project: Path, name: str) -> Path:
    return current_account(project) / "manifests" / name


def _lock(asked: Asked) -> bytes:
    """The packages with their hashes: the service's own lock, or the one that was named."""
    lock = _read(asked.lock) if asked.lock else _service_lock()
    text = lock.decode("utf-8", "replace")
    if "--hash=" not in text:
        raise ConfigError(f"{asked.lock}: found no hashes, wanted a lock such as pip-compile --generate-hashes writes.")
    if asked.conda:
        _check_conda(asked.conda, {_plain(name): version for name, version in _PIN.findall(text)}, text)
    return lock


def _service_lock() -> bytes:
    """The lock of the service: in a clone at its top, else in the package."""
    package = Path(loadcast.__file__).parent
    for folder in (package.parents[1], package / "registry"):
        if (folder / _LOCK_SOURCE).is_file():
            return (folder / _LOCK_SOURCE).read_bytes()
    raise ArtefactError(f"{_LOCK_SOURCE} is missing in this installation of loadcast. Install it again, or give -p.")


def _check_conda(path: str, pins: dict[str, str], lock: str) -> None:
    """Raise ConfigError unless the lock has what a conda file asks of pip: an image has nothing without a hash."""
    for line in read_conda(path).pip:
        match = _WANTED.fullmatch(line.partition(";")[0].strip())
        name = _plain(match[1]) if match else line
        wanted = match and match[2]
        if name not in pins or (wanted and f"{match[1]}=={wanted}".lower() not in lock.lower()):  # type: ignore[index]
            has = f"{name}=={pins[name]}" if name in pins else "no such package"
            raise ConfigError(
                f"{path}: found {shown(line, 100)}, and the lock has {has}. Images hold only what is locked with its "
                "hashes: name a lock of your own with -p."
            )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: str) -> bytes:
    try:
        if os.path.getsize(path) > _MOST_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {_MOST_FILE_BYTES:,} bytes, which no file of a service may be.")
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}. Name a file that is there.") from error


def _copy_files(target: Path, paths: Sequence[str]) -> None:
    target.mkdir()
    for path in paths:
        file = target / Path(path).name
        if file.exists():
            raise ConfigError(f"{path}: found a second file {file.name!r}, wanted files of different names.")
        file.write_bytes(_read(path))


def _copy_package(target: Path) -> None:
    """loadcast as it is installed, without what Python has compiled of it."""
    source = Path(loadcast.__file__).parent
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", _LOCK_SOURCE))
