"""Results of scanned splits, kept in a container; see storage/kept.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from loadcast.errors import LoadcastError
from loadcast.storage.blob.container import Container
from loadcast.storage.kept import SUFFIX, KeptInFolder, Write


@dataclass(frozen=True)
class KeptInContainer:
    """Results below the path `prefix` of a container. Trouble with it only costs time: then nothing is kept."""

    container: Container
    prefix: str

    def names(self) -> set[str]:
        paths = (PurePosixPath(blob.name) for blob in self.container.list(f"{self.prefix}/"))
        return {path.stem for path in paths if path.suffix == SUFFIX}

    def load(self, name: str) -> Iterator[pa.RecordBatch] | None:
        with tempfile.TemporaryDirectory(prefix="loadcast-kept-") as folder:
            local = KeptInFolder(folder)
            try:
                blob = self.container.stat(self._blob(name))
                if blob is None:
                    return None
                self.container.download(blob, local.path(name))
            except LoadcastError:
                return None
            batches = local.load(name)
            # The file goes with its name; a split's result is small.
            return None if batches is None else iter(list(batches))

    @contextmanager
    def save(self, name: str, schema: pa.Schema) -> Iterator[Write]:
        with tempfile.TemporaryDirectory(prefix="loadcast-kept-") as folder:
            local = KeptInFolder(folder)
            with local.save(name, schema) as write:
                yield write
            if local.path(name).exists():
                with suppress(LoadcastError):
                    self.container.upload(local.path(name), self._blob(name))

    def prune(self, names: Iterable[str]) -> None:
        wanted = {self._blob(name) for name in names}
        with suppress(LoadcastError):
            self.container.delete(
                [blob.name for blob in self.container.list(f"{self.prefix}/") if blob.name not in wanted]
            )

    def _blob(self, name: str) -> str:
        return f"{self.prefix}/{Path(name[:2], name).as_posix()}{SUFFIX}"
