"""The exclusive writer's lock on an output folder: a locked file in it.

The system frees it with its holder's end, and keeps it for one that is merely stopped.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadcast.errors import OutputError
from loadcast.storage.publishing import LostLockError


class FolderLock:
    """A lock that is held."""

    def __init__(self, handle: int, path: Path) -> None:
        self._handle, self._path = handle, path

    def prove(self) -> None:
        """Raise LostLockError if the lock is ours no more: its file is gone, or the file server has forgotten it."""
        if not (_is_at(self._handle, self._path) and _locked(self._handle)):
            raise LostLockError(
                f"Lost the lock {self._path}: its file was removed or replaced. Another run may be writing there. "
                "Run again when it is done."
            )


@contextmanager
def held_lock(path: Path) -> Iterator[FolderLock]:
    """Hold the lock that a file stands for. Raises OutputError where another holds it, or it cannot be written."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(
            f"Cannot write to {path.parent}: {error.strerror or error}. Choose another output."
        ) from error
    try:
        if not (_locked(handle) and _is_at(handle, path)):
            raise OutputError(f"Another run is writing to {path.parent}. Wait for it, or choose another output.")
        yield FolderLock(handle, path)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Whether the lock is ours, or could be taken. On a network's file system its server is asked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False
