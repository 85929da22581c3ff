"""Temporary folders that do not stay: those of processes that were killed are removed by the next of the same user.

    TMPDIR/loadcast-run-XXXXXXXX/
      .lock    locked as long as the folder's process lives, which no other process can seem to be
      files/   what the process keeps there

A folder is removed only if it is the user's own, no link, and its lock is free. A process that was killed before it
had the lock leaves an empty folder, which goes as well.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loadcast.errors import OutputError
from loadcast.system.disk import full_disk, is_full_disk

_PREFIX = "loadcast-run-"
_LOCK = ".lock"
_FILES = "files"
_OWN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class _Folder:
    """A folder of this process, and the descriptor of its lock."""

    path: Path
    lock: int
    process: int

    @property
    def files(self) -> Path:
        return self.path / _FILES

    def remove(self) -> None:
        """Remove it; a forked process leaves its parent's alone."""
        if os.getpid() == self.process and self in _live:
            _live.remove(self)
            _remove(self.path)
            os.close(self.lock)


@contextmanager
def run_folder() -> Iterator[Path]:
    """An empty folder for the block. Raises OutputError where none can be made."""
    folder = _make()
    try:
        yield folder.files
    finally:
        folder.remove()


def process_folder() -> Path:
    """The folder of this process, made when first asked for and removed at its end. Raises OutputError."""
    folder = _of_process.get(os.getpid())
    if folder is None or folder not in _live:
        folder = _of_process[os.getpid()] = _make()
        atexit.register(remove_own)
    return folder.files


def remove_own() -> None:
    """Remove all folders of this process."""
    for folder in [*_live]:
        folder.remove()


@contextmanager
def default_for_others(folder: Path) -> Iterator[None]:
    """Let temporary files that libraries make, and processes started, in the block go to a folder."""
    kept, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = kept
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable


def remove_abandoned() -> None:
    """Remove the folders of processes of this user that are gone."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for name in [entry.path for entry in entries if entry.name.startswith(_PREFIX)]:
            with suppress(OSError):
                _remove_if_abandoned(Path(name))


_live: list[_Folder] = []
_of_process: dict[int, _Folder] = {}


def _make() -> _Folder:
    try:
        return _made()
    except OSError as error:
        if is_full_disk(error):
            raise full_disk(tempfile.gettempdir()) from error
        raise OutputError(
            f"Cannot make a temporary folder: {error.strerror or error}. Let TMPDIR name a folder that can be written."
        ) from error


def _made() -> _Folder:
    remove_abandoned()
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = _locked(path)
        if lock is not None:
            _live.append(folder := _Folder(path, lock, os.getpid()))
            folder.files.mkdir()
            return folder


def _locked(path: Path) -> int | None:
    """Lock a new folder; None where another process has taken it for abandoned meanwhile."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OWN_FLAGS, 0o600)
    except FileNotFoundError:
        return None
    try:
        # Where the file system has no locks nobody else gets one either, and the folder stays until it is removed.
        with _locks_or_not():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink == 1:
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None


@contextmanager
def _locks_or_not() -> Iterator[None]:
    """Ignore that there are no locks, but not that one is held."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError:
        return


def _remove_if_abandoned(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _OWN_FLAGS)
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            return
        try:
            lock = os.open(_LOCK, os.O_RDWR | os.O_NONBLOCK | _OWN_FLAGS, dir_fd=folder)
        except FileNotFoundError:
            os.rmdir(path)  # only if it is empty
            return
        try:
            if stat.S_ISREG(os.fstat(lock).st_mode):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
        finally:
            os.close(lock)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    """Remove a folder, its lock last: a removal that is broken off is taken up by the next process."""
    # Twice: a process that is just ending may remove, or even make, files meanwhile.
    for part in (path / _FILES, path / _FILES, path):
        shutil.rmtree(part, ignore_errors=True)
