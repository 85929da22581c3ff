"""A published run of made-up files, for tests of what brings runs elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from artefact_files import made_up_info
from loadcast import paths
from loadcast.errors import InputError
from loadcast.progress import Update


class Run:
    """A published run of made-up files: `files` may be named, and `info` may say, anything."""

    run, shown = "20160630T000000000000Z-abcdef", "https://account.blob.core.windows.net/c/runs/x"

    def __init__(self, files: dict[str, bytes], listed: Any = None, info: bytes | None = None) -> None:
        self.files = files
        sums = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in files.items()
            if name.partition("/")[0] in paths.BUNDLE
        }
        self._info = info_with(sums if listed is None else listed) if info is None else info
        self.files.setdefault(paths.INFO, self._info)
        self.fetched: list[str] = []
        self.breaks_after = len(files) + 1
        self.removed = False

    def info(self) -> bytes:
        return self._info

    def sizes(self, parts: Iterable[str]) -> dict[str, int]:
        return {name: len(data) for name, data in self.files.items() if name.partition("/")[0] in set(parts)}

    def fetch(self, names: Sequence[str], folder: Path, update: Update) -> None:
        done, total = 0, sum(len(self.files[name]) for name in names)
        for name in names:
            if len(self.fetched) == self.breaks_after:
                raise InputError("The network is gone.")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.files[name])
            self.fetched.append(name)
            done += len(self.files[name])
            update(done, total)

    def is_there(self) -> bool:
        return not self.removed


def info_with(listed: Any) -> bytes:
    """`info` that lists these checksums."""
    return json.dumps(made_up_info(files=listed)).encode()


def files(**more: bytes) -> dict[str, bytes]:
    """A small bundle, whole."""
    return {f"{name}/data": b"0123456789" for name in paths.BUNDLE_FOLDERS} | {paths.METRICS: b"{}"} | more


def content(folder: Path) -> dict[str, bytes]:
    """The files below a folder, but for a run's record."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != paths.COMPLETE)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
