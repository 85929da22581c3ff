"""The files of a run that its history keeps: logs, the change against git, pictures and JSON among the outputs."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from loadcast.errors import OutputError
from loadcast.experiments.locations import OUTPUTS
from loadcast.secrets import without_secrets

#: Of a longer log the end is kept; a larger output is left out.
MOST_BYTES = 10 << 20
MOST_FILES = 1_000
_LOGS = frozenset({".log", ".txt"})
_TEXTS = frozenset({".json", ".svg"})
_PICTURES = frozenset({".gif", ".jpeg", ".jpg", ".png"})


@dataclass(frozen=True)
class KeptFile:
    """A file of a run, and its path in the history."""

    source: Path
    path: str
    state: os.stat_result

    @property
    def version(self) -> str:
        """What changes when the file does."""
        return f"{self.path!r} {self.state.st_size} {self.state.st_mtime_ns}"


def files_to_keep(folder: Path, diff: str | None) -> list[KeptFile]:
    """The files of a run's folder that its history keeps, sorted. Links are not followed. Raises OutputError."""
    kept = []
    try:
        for name in sorted(os.listdir(folder)):
            if Path(name).suffix in _LOGS or name == diff:
                kept.append((folder / name, f"logs/{name}" if name != diff else name))
        for root, folders, names in os.walk(folder / OUTPUTS):
            folders.sort()
            paths = [Path(root, name) for name in sorted(names) if Path(name).suffix.lower() in _TEXTS | _PICTURES]
            kept += [(path, str(path.relative_to(folder))) for path in paths]
        files = [KeptFile(source, path, os.lstat(source)) for source, path in kept[:MOST_FILES]]
    except OSError as error:
        raise OutputError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [file for file in files if _is_kept(file)]


def copy_without_secrets(files: list[KeptFile], destination: Path) -> None:
    """Copy files to their paths below a folder; texts lose the secrets in them. Raises OutputError."""
    for file in files:
        target = destination / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.source.suffix.lower() in _PICTURES:
                shutil.copyfile(file.source, target)
            else:
                target.write_text(_text(file), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"Cannot copy {file.source}: {error.strerror or error}.") from error


def _is_kept(file: KeptFile) -> bool:
    is_log = file.source.suffix in _LOGS
    small = is_log or file.state.st_size <= MOST_BYTES
    # A name with a secret in it cannot go where everybody looks.
    return stat.S_ISREG(file.state.st_mode) and small and without_secrets(file.path) == file.path


def _text(file: KeptFile) -> str:
    with file.source.open("rb") as stream:
        left_out = max(0, os.fstat(stream.fileno()).st_size - MOST_BYTES)
        if left_out:
            stream.seek(left_out)
            left_out += len(stream.readline(MOST_BYTES))  # the rest of a line may hold the rest of a secret
        lines = stream.read(MOST_BYTES).decode("utf-8", errors="replace").splitlines(keepends=True)
    head = f"… {left_out:,} bytes before this are left out here\n" if left_out else ""
    return head + "".join(map(without_secrets, lines))
