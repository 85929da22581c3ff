"""Results of scanned splits, kept beside the runs: a run that was killed, or has more files, scans only what is new.

A result is one file of Arrow record batches, named after everything it depends on. It appears when it is complete, by
a rename, and ends with a checksum of itself: one that is cut short or damaged counts as absent.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa

SUFFIX = ".arrows"
_UNFINISHED = ".tmp"
_MAGIC = b"LCK1"
_TRAILER_BYTES = 4 + len(_MAGIC)
_CHUNK_BYTES = 1 << 20

Write = Callable[[pa.RecordBatch], None]


class KeptResults(Protocol):
    """The results in one place, by name (letters and digits); it travels to the tasks."""

    def names(self) -> set[str]:
        """Names of the results that are there, as far as can be told without reading them."""

    def load(self, name: str) -> Iterator[pa.RecordBatch] | None:
        """The batches of a result; None where there is none, or a damaged one."""

    def save(self, name: str, schema: pa.Schema) -> AbstractContextManager[Write]:
        """Give a function that takes the result's batches; the result appears when the block ends without an error.

        Nothing is raised where it cannot be written: then nothing is kept, which only costs time.
        """

    def prune(self, names: Iterable[str]) -> None:
        """Remove all results but these, and what killed runs have left."""


@dataclass(frozen=True)
class KeptInFolder:
    """Results in a folder that all tasks reach."""

    folder: str

    def names(self) -> set[str]:
        return {path.stem for path in Path(self.folder).glob(f"*/*{SUFFIX}")}

    def load(self, name: str) -> Iterator[pa.RecordBatch] | None:
        path = self.path(name)
        try:
            if not _is_whole(path):
                return None
            return _batches(path)
        except OSError:
            return None

    @contextmanager
    def save(self, name: str, schema: pa.Schema) -> Iterator[Write]:
        path = self.path(name)
        unfinished = path.with_name(f"{name}-{secrets.token_hex(6)}{_UNFINISHED}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            writer = pa.ipc.new_stream(pa.OSFile(str(unfinished), "wb"), schema, options=options)
        except OSError:
            yield _ignore
            return
        attempt = _Attempt(writer)
        try:
            yield attempt.write
            if attempt.finish():
                with suppress(OSError):
                    _seal(unfinished)
                    os.replace(unfinished, path)
        finally:
            attempt.finish()
            unfinished.unlink(missing_ok=True)

    def prune(self, names: Iterable[str]) -> None:
        wanted = {self.path(name) for name in names}
        for path in Path(self.folder).glob("*/*"):
            if path.suffix == _UNFINISHED or (path.suffix == SUFFIX and path not in wanted):
                with suppress(OSError):
                    path.unlink()

    def path(self, name: str) -> Path:
        """The file of a result."""
        return Path(self.folder, name[:2], f"{name}{SUFFIX}")


class _Attempt:
    """A result being written; a disk that is full ends the attempt, not the run."""

    def __init__(self, writer: pa.ipc.RecordBatchStreamWriter) -> None:
        self._writer: pa.ipc.RecordBatchStreamWriter | None = writer
        self._complete = True

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is not None and self._complete:
            try:
                self._writer.write_batch(batch)
            except OSError:
                self._complete = False

    def finish(self) -> bool:
        """Close the file; whether all was written."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError:
                self._complete = False
        return self._complete


def _ignore(batch: pa.RecordBatch) -> None:
    return


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
        yield from reader


def _seal(path: Path) -> None:
    """Add the checksum of what stands in the file."""
    with open(path, "r+b") as file:
        checksum = _crc(file, os.fstat(file.fileno()).st_size)
        file.write(checksum.to_bytes(4, "little") + _MAGIC)


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size - _TRAILER_BYTES
        if size < 0:
            return False
        checksum = _crc(file, size)
        return file.read() == checksum.to_bytes(4, "little") + _MAGIC


def _crc(file: BinaryIO, size: int) -> int:
    checksum = 0
    while size > 0 and (chunk := file.read(min(size, _CHUNK_BYTES))):
        checksum = zlib.crc32(chunk, checksum)
        size -= len(chunk)
    return checksum
