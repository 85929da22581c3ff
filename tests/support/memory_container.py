"""A container in the memory of this process, with the conditions and leases of a real one: for many short runs."""

from __future__ import annotations

import builtins
import hashlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from loadcast.errors import OutputError
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.errors import ChangedError
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.uploading import Sent
from loadcast.storage.publishing import LostLockError

ROOT = BlobLocation("https://account.blob.core.windows.net", "container", "")


class MemoryLease:
    """A lease that lasts until another has it, or it is broken."""

    def __init__(self, holders: builtins.list[MemoryLease]) -> None:
        self._holders = holders

    def prove(self) -> None:
        """Raise LostLockError unless it is held."""
        if self not in self._holders:
            raise LostLockError("Lost the lock.")


@dataclass(frozen=True)
class MemoryContainer(Container):
    """Blobs in a dict."""

    root: BlobLocation = ROOT
    blobs: dict[str, tuple[bytes, str]] = field(default_factory=dict, compare=False)
    holders: builtins.list[MemoryLease] = field(default_factory=builtins.list, compare=False)
    _etags: Iterator[int] = field(default_factory=itertools.count, compare=False)
    _lock: Any = field(default_factory=RLock, compare=False)

    def list(self, prefix: str = "", marks: bool = False) -> Iterator[Blob]:
        return iter([self._blob_of(name) for name in sorted(self.blobs) if name.startswith(prefix)])

    def stat(self, name: str) -> Blob | None:
        return self._blob_of(name) if name in self.blobs else None

    def get(self, name: str) -> tuple[bytes, str] | None:
        return self.blobs.get(name)

    def put(self, name: str, data: bytes, *, etag: str | None = None, new: bool = False) -> str:
        with self._lock:
            if (new and name in self.blobs) or (etag is not None and self.blobs.get(name, (b"", ""))[1] != etag):
                raise ChangedError(f"{name} was written by another program.")
            self.blobs[name] = (data, f'"{next(self._etags)}"')
            return self.blobs[name][1]

    def delete(self, names: Iterable[str]) -> None:
        for name in builtins.list(names):
            self.blobs.pop(name, None)

    def delete_unchanged(self, name: str, etag: str) -> None:
        with self._lock:
            if self.blobs.get(name, (b"", etag))[1] != etag:
                raise ChangedError(f"{name} was written by another program.")
            self.blobs.pop(name, None)

    def upload(self, path: Path, name: str) -> Sent:
        data = path.read_bytes()
        self.put(name, data)
        return Sent(len(data), _md5(data))

    def download(self, blob: Blob, path: Path, arrived: Callable[[int], None] = lambda number: None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.blobs[blob.name][0])

    def copy(self, name: str, target: str) -> None:
        self.put(target, self.blobs[name][0])

    def open(self, name: str, size: int, etag: str) -> Any:
        return io.BytesIO(self.blobs[name][0])

    @contextmanager
    def lease(self, name: str) -> Iterator[Any]:
        if self.holders:
            raise OutputError("Another run is writing.")
        lease = MemoryLease(self.holders)
        self.holders.append(lease)
        try:
            yield lease
        finally:
            if lease in self.holders:
                self.holders.remove(lease)

    def _blob_of(self, name: str) -> Blob:
        data, etag = self.blobs[name]
        return Blob(name, len(data), etag, _md5(data))


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
