"""Checksums of files: those of a folder, and those that a bundle's `info` lists."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from loadcast.artefacts.document import DocumentError, decode
from loadcast.storage.table_files import is_hidden

_PIECE_BYTES = 1 << 20


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
            folders[:] = [item for item in folders if not is_hidden(item)]
            relative_parent = Path(parent).relative_to(root)
            relative_paths.extend((relative_parent / item).as_posix() for item in files if not is_hidden(item))
    return sorted(relative_paths)


def listed_sums(info: bytes) -> dict[str, Any]:
    """Relative path → SHA-256 of every file that an `info` lists, whatever its format version; none where it says none.

    Nothing else of it is looked at. Raises DocumentError, a ValueError, where that cannot be read.
    """
    files = decode(info).get("files", {})
    if not isinstance(files, dict):
        raise DocumentError("its files are no JSON object")
    return files


def sha256_of(file: BinaryIO) -> str:
    """SHA-256, in hexadecimal, of what an open file holds from here on."""
    digest = hashlib.sha256()
    while block := file.read(_PIECE_BYTES):
        digest.update(block)
    return digest.hexdigest()


def sha256_of_files(folder: str | os.PathLike[str], names: Iterable[str]) -> dict[str, str]:
    """Relative path → SHA-256 in hexadecimal of every file that `data_files(folder, names)` finds."""
    sums = {}
    for name in data_files(folder, names):
        with (Path(folder) / name).open("rb") as file:
            sums[name] = sha256_of(file)
    return sums
