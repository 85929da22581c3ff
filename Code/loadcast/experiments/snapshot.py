"""A project as it was when a script was submitted: its files by their contents, without secrets and data."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.experiments.locations import SNAPSHOT, blob_path, run_folder
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.secrets import redacted, shown
from loadcast.system.small_files import replace_file

#: Bytes of all files together; data does not belong into a project, and each target gets a copy.
LARGEST_BYTES = 300_000_000
IGNORE_FILE = ".amlignore"
#: The folder of a pipeline's step with what it gets of the steps before it.
INPUTS = "inputs"
#: Never sent: by path, or by the name of any folder or file on it. Patterns as in .amlignore.
_LEFT_OUT = (
    *(".git", ".loadcast", ".venv*", "__pycache__", "node_modules", ".pytest_cache", ".mypy_cache", ".ruff_cache"),
    *("data", "output", "outputs", "spark-warehouse", "metastore_db"),
)
SECRET_FILES = (
    *("*.pem", "*.key", "*.pfx", "*.p12", "*.jks", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *(".env", ".env.*", ".netrc", ".pgpass", ".git-credentials", ".htpasswd"),
)
#: Files that configurations are written in: those are looked into for keys.
_CONFIGURATIONS = (".json", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".conf", ".compute", ".runconfig", ".properties")
_LOOKED_INTO_BYTES = 1_000_000
#: What lock files have, in the form of keys.
_DIGEST = re.compile(r"\bsha(?:256|384|512)-[A-Za-z0-9+/]+={0,2}")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """The files of a project, by path."""

    files: tuple[SnapshotFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def hash(self) -> str:
        """What the same files, wherever they are, have in common."""
        rows = [[entry.path, entry.sha256, entry.executable] for entry in self.files]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def take_snapshot(project: Path) -> Snapshot:
    """The project's files, whose contents are kept in the project.

    Git says which there are: tracked, or neither tracked nor ignored; without git, all but what is usually ignored.
    Patterns in .amlignore leave out more. Raises ConfigError where a file holds a key, leads out of the project, or all
    are too large.
    """
    patterns = _patterns(project)
    paths = sorted({path for path in _candidates(project) if not _is_left_out(path, patterns)})
    _check_size(project, paths)
    kept = [_keep(project, path) for path in paths]
    return Snapshot(tuple(file for file in kept if file is not None))


def write_snapshot(project: Path, run: str, snapshot: Snapshot) -> None:
    """Keep what a run's snapshot consists of in the run's folder."""
    entries = [[file.path, file.sha256, file.size, file.executable] for file in snapshot.files]
    document = {"formatVersion": 1, "hash": snapshot.hash, "entries": entries}
    replace_file(run_folder(project, run) / SNAPSHOT, json.dumps(document).encode())


def with_inputs(project: Path, snapshot: Snapshot, inputs: Mapping[str, Path]) -> Snapshot:
    """The snapshot with files and folders from elsewhere, below `inputs/` by their names; their contents are kept.

    Raises ConfigError where one is missing.
    """
    added = []
    for name, source in sorted(inputs.items()):
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        if not files:
            raise ConfigError(f"inputs.{name}: found no file {shown(source)}. Does the step before write it?")
        for file in files:
            inside = "" if file == source else f"/{file.relative_to(source).as_posix()}"
            added.append(_kept(project, f"{INPUTS}/{name}{inside}", file.read_bytes(), False))
    return Snapshot((*snapshot.files, *added))


def _candidates(project: Path) -> Iterator[str]:
    """The paths of all files that may belong to the project."""
    listing = subprocess.run(
        ["git", "-C", str(project), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    if listing.returncode == 0:
        yield from (os.fsdecode(name) for name in listing.stdout.split(b"\0") if name)
        return
    for parent, folders, files in os.walk(project):
        inside = Path(parent).relative_to(project)
        folders[:] = [name for name in folders if not _matches(name, _LEFT_OUT)]
        yield from ((inside / name).as_posix() for name in files)


def _patterns(project: Path) -> tuple[str, ...]:
    try:
        lines = (project / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#"))


def _is_left_out(path: str, patterns: Sequence[str]) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[: number + 1]) for number in range(len(parts))]
    return (
        _matches(parts[-1], SECRET_FILES)
        or any(_matches(part, _LEFT_OUT) for part in parts[:-1])
        or any(_matches(text, patterns) for text in (*parts, *above))
    )


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


def _check_size(project: Path, paths: Sequence[str]) -> None:
    sizes = {path: (project / path).stat().st_size for path in paths if (project / path).is_file()}
    if sum(sizes.values()) > LARGEST_BYTES:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        named = ", ".join(f"{shown(path)} ({sizes[path] / 1e6:,.0f} MB)" for path in largest)
        raise ConfigError(
            f"The project's files have {sum(sizes.values()) / 1e6:,.0f} MB, wanted at most {LARGEST_BYTES / 1e6:,.0f}. "
            f"The largest: {named}. Leave out what no script needs, by .gitignore or {IGNORE_FILE}."
        )


def _keep(project: Path, path: str) -> SnapshotFile | None:
    """Keep one file's content; None for what is no file, such as a submodule, or is gone."""
    source = project / path
    try:
        if source.is_symlink() and not source.resolve().is_relative_to(project.resolve()):
            raise ConfigError(f"{shown(path)} is a link that leads out of the project. Leave it out by {IGNORE_FILE}.")
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{shown(path)} cannot be read: {error.strerror}. Leave it out by {IGNORE_FILE}.") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return None
        content = file.read()
    if path.endswith(_CONFIGURATIONS) and len(content) <= _LOOKED_INTO_BYTES:
        _check_secrets(path, content)
    return _kept(project, path, content, bool(about.st_mode & stat.S_IXUSR))


def _kept(project: Path, path: str, content: bytes, executable: bool) -> SnapshotFile:
    """A content among those that the project keeps, as the file that it is in a snapshot."""
    digest = hashlib.sha256(content).hexdigest()
    if not (blob := blob_path(project, digest)).exists():
        replace_file(blob, content, lasting=False)  # thousands; targets check what they get
    return SnapshotFile(path, digest, len(content), executable)


def _check_secrets(path: str, content: bytes) -> None:
    text = _DIGEST.sub("", content.decode("utf-8", "replace"))
    for number, line in enumerate(text.splitlines(), 1):
        if redacted(line) != line:
            raise ConfigError(
                f"{shown(path)}, line {number}: found what looks like a key, which would go to the target. "
                "Name a variable that holds it, env:NAME, and let the target have it."
            )
