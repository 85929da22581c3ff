"""A lock on a folder, held by one process of this machine at a time, and let go of by its end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadcast.errors import OutputError


@contextmanager
def locked(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Let nobody else change what is in a folder, which is made; waits for whoever does. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(f"Cannot write in {folder}: {error.strerror or error}. Make room for it.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
