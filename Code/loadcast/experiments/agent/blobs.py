"""Contents of files by their sha-256, so that only what is missing has to be sent."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from typing import IO, BinaryIO

from .state import Refused, below

_BLOCK = 1 << 20


def missing_blobs(base: str, names: Iterable[str]) -> list[str]:
    """Those of the names whose blobs are not here; the others are touched, as they are about to be used."""
    return [name for name in names if not _is_here(blob_path(base, name))]


def receive_blobs(base: str, stream: BinaryIO) -> int:
    """Keep the blobs of a tar, each named by its sha-256, which is checked; returns how many."""
    number = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                raise Refused(f"{member.name!r} is no file")
            _keep(blob_path(base, member.name), content)
            number += 1
    return number


def place_blob(base: str, name: str, folder: str, path: str, executable: bool) -> None:
    """Copy a blob to a path below a folder; a copy, as scripts may write into their files."""
    target = below(folder, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(blob_path(base, name), target)
    os.chmod(target, 0o755 if executable else 0o644)


def blob_path(base: str, name: str) -> str:
    """Where a blob lies. Raises Refused for what is no sha-256."""
    if not isinstance(name, str) or len(name) != 64 or set(name) - set("0123456789abcdef"):
        raise Refused(f"{name!r}: wanted a sha-256 in hexadecimal")
    return os.path.join(base, "blobs", name[:2], name)


def _is_here(path: str) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _keep(path: str, content: IO[bytes]) -> None:
    """Write a blob, all or nothing."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    making = f"{path}.{os.getpid()}"
    digest = hashlib.sha256()
    try:
        with open(making, "wb") as file:
            for block in iter(lambda: content.read(_BLOCK), b""):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != os.path.basename(path):
            raise Refused(f"blob {os.path.basename(path)}: found other content, wanted that of its name")
        os.replace(making, path)
    finally:
        if os.path.exists(making):
            os.unlink(making)
