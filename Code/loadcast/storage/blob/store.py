"""The runs and pointers of a container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, cast

from loadcast import paths
from loadcast.errors import InputError
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.errors import ChangedError
from loadcast.storage.blob.lease import Lease
from loadcast.storage.blob.location import joined
from loadcast.storage.publishing import Pointer, PointerChangedError
from loadcast.storage.runs import Record, StoredRun, is_run_name, parse_record

_SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class ContainerStore:
    """What publishing knows of a container; see RunStore. Without a lease it is only read."""

    container: Container
    prefix: str = ""
    lease: Lease | None = None

    @property
    def shown(self) -> str:
        return self.container.root.at(self.prefix.strip("/")).url

    def path(self, name: str) -> str:
        """The path of a run."""
        return self._join(paths.run_path(name))

    def prove(self) -> None:
        if self.lease is not None:
            self.lease.prove()

    def pointer(self, link: str) -> Pointer | None:
        content = self.container.get(self._join(link))
        if content is None:
            return None
        data, etag = content
        text = data[:_SHOWN_CHARACTERS].decode("ascii", errors="replace").strip()
        return Pointer(text if is_run_name(text) else None, etag, text)

    def claim(self, link: str, expected: Pointer) -> Pointer:
        return Pointer(expected.name, self._put(link, expected.text, expected.version), expected.text)

    def replace(self, link: str, expected: Pointer | None, name: str | None) -> None:
        if name is not None:
            self._put(link, name, expected.version if expected else None)
        elif expected is not None:
            try:
                self.container.delete_unchanged(self._join(link), expected.version)
            except ChangedError as error:
                raise PointerChangedError(str(error)) from error

    def stored(self) -> list[StoredRun]:
        parts: dict[str, set[str]] = {}
        root = self._join(paths.RUNS) + "/"
        for blob in self.container.list(root, marks=True):
            name, _, rest = blob.name.removeprefix(root).partition("/")
            if is_run_name(name):
                parts.setdefault(name, set()).add(rest.partition("/")[0])
        return [
            StoredRun(name, paths.COMPLETE in has, paths.FOREST_MODEL in has, paths.WITHDRAWN in has)
            for name, has in sorted(parts.items())
        ]

    def is_complete(self, name: str) -> bool:
        return self.container.stat(f"{self.path(name)}/{paths.COMPLETE}") is not None

    def record(self, name: str) -> Record | None:
        content = self.container.get(f"{self.path(name)}/{paths.COMPLETE}")
        return parse_record(content[0]) if content else None

    def sizes(self, name: str) -> dict[str, int]:
        root = self.path(name) + "/"
        sizes = {blob.name.removeprefix(root): blob.size for blob in self.container.list(root)}
        return {file: size for file, size in sizes.items() if file not in paths.RUN_MARKS}

    def read(self, name: str, file: str) -> BinaryIO:
        path = f"{self.path(name)}/{file}"
        blob = self.container.stat(path)
        if blob is None:
            raise InputError(f"{self.container.root.at(path)} was listed, and is gone. Run again when nobody writes.")
        return cast(BinaryIO, self.container.open(blob.name, blob.size, blob.etag))

    def complete(self, name: str, record: Record) -> None:
        self.container.put(f"{self.path(name)}/{paths.COMPLETE}", record.to_bytes(), new=True)

    def amend(self, name: str, record: Record) -> None:
        self.container.put(f"{self.path(name)}/{paths.COMPLETE}", record.to_bytes())

    def withdraw(self, name: str) -> None:
        self.container.put(f"{self.path(name)}/{paths.WITHDRAWN}", b"")

    def remove(self, name: str) -> None:
        self.container.delete([f"{self.path(name)}/{paths.COMPLETE}"])
        self.container.delete([blob.name for blob in self.container.list(f"{self.path(name)}/", marks=True)])

    def _put(self, link: str, text: str, etag: str | None) -> str:
        """Write a pointer if it still has that ETag (None: if there is none), and give its new one."""
        try:
            return self.container.put(self._join(link), f"{text}\n".encode(), etag=etag, new=etag is None)
        except ChangedError as error:
            raise PointerChangedError(str(error)) from error

    def _join(self, *parts: str) -> str:
        return joined(self.prefix, *parts)
