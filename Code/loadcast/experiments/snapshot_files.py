"""The files of a run's snapshot: read, compared with those of another run, and put back into a folder."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from loadcast.artefacts.document import MAX_BYTES, DocumentError, decode
from loadcast.errors import ArtefactError, OutputError
from loadcast.experiments.locations import SNAPSHOT, blob_path, run_folder
from loadcast.printable import printable

#: Larger files are compared by their hashes alone.
MOST_COMPARED_BYTES = 1 << 20
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class SnapshotFile:
    """A file of a snapshot: its path below the project, the SHA-256 of its content in hexadecimal digits, its size."""

    path: str
    sha256: str
    size: int
    executable: bool


def snapshot_files(project: Path, run: str) -> dict[str, SnapshotFile]:
    """The files of a run's snapshot by their paths. Raises ArtefactError where it is missing or damaged."""
    path = run_folder(project, run) / SNAPSHOT
    try:
        with path.open("rb") as file:
            document = decode(file.read(MAX_BYTES + 1))
        entries = document.get("entries")
        if not isinstance(entries, list):
            raise DocumentError("found no list of entries")
        files = [_file(entry) for entry in entries]
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}. Its code is not known.") from error
    except DocumentError as error:
        raise ArtefactError(f"{path} cannot be read: {error}. Its code is not known.") from error
    return {file.path: file for file in sorted(files, key=lambda file: file.path)}


def changed_paths(before: dict[str, SnapshotFile], after: dict[str, SnapshotFile]) -> list[tuple[str, str]]:
    """Each path that differs, with `added`, `removed` or `changed`."""
    changes = []
    for path in sorted({*before, *after}):
        if path not in before:
            changes.append((path, "added"))
        elif path not in after:
            changes.append((path, "removed"))
        elif before[path] != after[path]:
            changes.append((path, "changed"))
    return changes


@dataclass(frozen=True)
class FileChange:
    """A file that differs between two snapshots: `added`, `removed` or `changed`, and the lines of its unified diff.

    What is no text, or too large, has one line that says so.
    """

    path: str
    change: str
    lines: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """How many lines came, and how many went."""
        body = self.lines[2:]  # behind the two names
        return sum(line.startswith("+") for line in body), sum(line.startswith("-") for line in body)


def file_changes(
    project: Path, before: dict[str, SnapshotFile], after: dict[str, SnapshotFile]
) -> Iterator[FileChange]:
    """The files that differ between two snapshots; no line can drive a terminal. Raises ArtefactError."""
    for path, change in changed_paths(before, after):
        texts = [_text(project, files.get(path)) for files in (before, after)]
        yield FileChange(path, change, tuple(_diff(path, change, texts)))


def unified_diff(project: Path, before: dict[str, SnapshotFile], after: dict[str, SnapshotFile]) -> Iterator[str]:
    """The lines of a unified diff between two snapshots; no line can drive a terminal. Raises ArtefactError."""
    for file in file_changes(project, before, after):
        yield from file.lines


def _diff(path: str, change: str, texts: list[str | None]) -> Iterator[str]:
    if None in texts:
        yield f"Binary or large file {printable(path)}: {change}"
        return
    old, new = (text.splitlines() if text else [] for text in texts)
    names = ("/dev/null" if change == "added" else f"a/{path}", "/dev/null" if change == "removed" else f"b/{path}")
    if old == new:
        yield f"File {printable(path)}: its mode or the ends of its lines changed"
    for line in difflib.unified_diff(old, new, *names, lineterm=""):
        yield printable(line.replace("\t", "    "))


def restore(project: Path, files: dict[str, SnapshotFile], destination: Path) -> None:
    """Write a snapshot's files into a new or empty folder.

    Raises OutputError where it cannot be written or is in use, ArtefactError where a file's content is missing or not
    what it was; the destination is then left as it was.
    """
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise OutputError(f"{destination} is no folder; wanted a new or empty one.")
    if destination.is_dir() and any(destination.iterdir()):
        raise OutputError(f"{destination} has files in it; wanted a new or empty folder.")
    fresh = destination.with_name(f".{destination.name}-{os.getpid()}")
    try:
        try:
            fresh.mkdir(parents=True)
            for file in files.values():
                _write(project, file, fresh / file.path)
            os.replace(fresh, destination)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"Cannot write {destination}: {error.strerror or error}. Name another folder.") from error


def _write(project: Path, file: SnapshotFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        target.write(_content(project, file))
    path.chmod(0o755 if file.executable else 0o644)


def _content(project: Path, file: SnapshotFile) -> bytes:
    try:
        content = blob_path(project, file.sha256).read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{file.path}: its content {file.sha256[:12]}… is not kept: {error.strerror or error}."
        ) from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ArtefactError(f"{file.path}: what is kept of it is not what it was: its SHA-256 differs.")
    return content


def _text(project: Path, file: SnapshotFile | None) -> str | None:
    """A file as text, empty where there is none; None for one that is too large or no text."""
    if file is None:
        return ""
    if file.size > MOST_COMPARED_BYTES:
        return None
    content = _content(project, file)
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _file(entry: Any) -> SnapshotFile:
    if not isinstance(entry, list) or [type(part) for part in entry] != [str, str, int, bool]:
        raise DocumentError("found an entry that is not [path, sha256, size, executable]")
    path, sha256, size, executable = entry
    if not _is_below(path) or len(sha256) != 64 or not set(sha256) <= _DIGITS or size < 0:
        raise DocumentError(f"found an entry for {printable(path)!r:.200} that cannot be a file of the project")
    return SnapshotFile(path, sha256, size, executable)


def _is_below(path: str) -> bool:
    """Whether a path stays below the folder it is put into, and is written in one way only."""
    pure = PurePosixPath(path)
    plain = bool(pure.parts) and str(pure) == path and "\0" not in path
    return plain and not pure.is_absolute() and ".." not in pure.parts
