"""Checksums of the files of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def data_files(folder: str | os.PathLike[str], names: Iterable[str]) -> list[str]:
    """Files below `folder` that carry data, as sorted relative paths with `/`.

    `names` are the files and folders to look at; those that are absent are skipped. As Spark does, files and folders
    whose name starts with `.` or `_` are left out: checksums of the storage layer, `_SUCCESS` marks, work in progress.
    """
    root = Path(folder)
    relative_paths: list[str] = []
    for name in names:
        if (root / name).is_file():
            relative_paths.append(name)
        for parent, folders, files in os.walk(root / name):
            folders[:] = [item for item in folders if not item.startswith((".", "_"))]
            relative_parent = Path(parent).relative_to(root)
            relative_paths.extend(
                (relative_parent / item).as_posix() for item in files if not item.startswith((".", "_"))
            )
    return sorted(relative_paths)


def sha256_of_files(folder: str | os.PathLike[str], names: Iterable[str]) -> dict[str, str]:
    """Relative path → SHA-256 in hexadecimal of every file that `data_files(folder, names)` finds."""
    sums = {}
    for name in data_files(folder, names):
        with (Path(folder) / name).open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        sums[name] = digest.hexdigest()
    return sums
