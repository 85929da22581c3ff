"""A run on its way into a container."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from loadcast import paths
from loadcast.errors import OutputError
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.hadoop import Driver, find_driver
from loadcast.storage.blob.transfer import download_blobs, upload_folder
from loadcast.storage.publish import is_checksum_file
from loadcast.storage.staging import Hadoop, file_address, fresh_tables_in, replace_in
from loadcast.storage.tables import FolderTables, Tables, is_hidden

_COPIES_AT_ONCE = 16


class ContainerStaging:
    """A run that is gathered in a folder, or written straight to its place in the container by tasks and Spark.

    `carried` is the run before, and the artefacts that the new one starts with: they are copied by the service, when
    all else is done.
    """

    def __init__(
        self, folder: Path, container: Container, run: str, carried: tuple[str, tuple[str, ...]] | None
    ) -> None:
        self.folder = folder
        self._container, self._run, self._carried = container, run, carried
        self._replaced: list[str] = []
        self._fetched: dict[str, tuple[int, int]] = {}
        self._driver: Driver | None = None
        self._by_spark: set[str] = set()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._uploads: dict[Future[None], list[str]] = {}
        self._closed = False

    def write_directly(self, hadoop: Hadoop) -> dict[str, str]:
        found = find_driver(self._container, hadoop)
        if found is None:
            return {}
        self._driver, settings = found
        return settings

    @property
    def tables(self) -> Tables:
        return ContainerTables(self._container, self._run) if self._driver else FolderTables(str(self.folder))

    def address(self, name: str) -> str:
        self._check_uploads()
        if self._driver is None:
            if self._is_carried(name) and not (self.folder / name).exists():
                self.fetch([name])
            return file_address(self.folder / name)
        if self._carried and self._is_carried(name):
            run = self._carried[0]
        else:
            run = self._run
            self._by_spark.add(name)
        return self._driver.address(self._container.root.at(f"{run}/{name}"))

    def fetch(self, names: Iterable[str]) -> None:
        for name in names:
            if self._is_carried(name):
                self._fetch(self._carried_blobs(name), self._carried[0] if self._carried else "")
            elif self._driver:
                self._fetch(self._made_by_spark(name), self._run)

    def carried_tables(self, table: str) -> Tables:
        if self._driver and self._carried:
            return ContainerTables(self._container, self._carried[0])
        if not (self.folder / table).exists():
            self.fetch([table])
        return FolderTables(str(self.folder))

    @property
    def fresh_tables(self) -> Tables:
        # What is carried joins the run in the container at the end: until then there is nothing that could be mixed.
        return self.tables if self._driver else fresh_tables_in(self.folder)

    def replace(self, parts: Iterable[str]) -> None:
        self._replaced = list(parts)
        if self._driver is None:
            replace_in(self.folder, self._replaced)

    def finished(self, names: Iterable[str]) -> None:
        wanted = tuple(names)
        files = [file for file in self._new_files() if any(_within(file, name) for name in wanted)]
        if files:
            self._uploads[self._ahead.submit(self._upload, files)] = files

    def close(self) -> None:
        """Bring nothing more; returns when nothing more is being brought."""
        self._closed = True
        self._ahead.shutdown(cancel_futures=True)

    def has_model(self) -> bool:
        """Whether the run, once uploaded, has a forest."""
        return any(True for _ in self._container.list(f"{self._run}/{paths.FOREST_MODEL}/"))

    def upload(self) -> None:
        """Bring all that belongs to the run to its place in the container."""
        new = self._new_files()
        carried = {self._below_run(blob): blob.name for blob in self._carried_blobs()}
        with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
            jobs = [
                pool.submit(self._container.copy, carried[name], f"{self._run}/{name}") for name in {*carried} - {*new}
            ]
            for job in jobs:
                job.result()
        for blob in (one for name in self._by_spark for one in self._container.list(f"{self._run}/{name}/") if one.md5):
            self._container.forget_md5(blob.name)
        wait(self._uploads)
        self._check_uploads()
        ahead = {name for names in self._uploads.values() for name in names}
        self._upload([name for name in new if name not in ahead])

    def _check_uploads(self) -> None:
        """Raise the error of an upload that has failed meanwhile: now rather than when all else is done."""
        for upload in self._uploads:
            if upload.done():
                upload.result()

    def _upload(self, names: list[str]) -> None:
        upload_folder(self._container, self.folder, self._run, names, self._go_on)

    def _go_on(self, done: int, total: int) -> None:
        """Told after each file: that the run is given up ends its uploads."""
        if self._closed:
            raise OutputError("The run was given up.")

    def _new_files(self) -> list[str]:
        """All files in the folder but those that were fetched, and are still as they were."""
        return [name for name in _files(self.folder) if self._fetched.get(name) != _state(self.folder / name)]

    def _fetch(self, blobs: list[Blob], run: str) -> None:
        for name in download_blobs(self._container, blobs, run, self.folder):
            self._fetched[name] = _state(self.folder / name)

    def _made_by_spark(self, name: str) -> list[Blob]:
        """The blobs of an artefact, without the checksums that Hadoop's driver has left: they are of parts only."""
        return [replace(blob, md5=None) for blob in self._container.list(f"{self._run}/{name}/")]

    def _is_carried(self, name: str) -> bool:
        return self._carried is not None and any(_within(name, one) for one in self._carried[1])

    def _carried_blobs(self, only: str | None = None) -> list[Blob]:
        """The blobs of the run before that are carried, those of one artefact or of all."""
        if self._carried is None:
            return []
        run, names = self._carried
        found = [blob for one in ([only] if only else names) for blob in self._container.list(f"{run}/{one}")]
        return [blob for blob in found if not any(_within(self._below_run(blob), one) for one in self._replaced)
                and any(_within(self._below_run(blob), one) for one in names)]  # fmt: skip

    def _below_run(self, blob: Blob) -> str:
        return blob.name.removeprefix(f"{self._carried[0]}/") if self._carried else blob.name


def _within(name: str, artefact: str) -> bool:
    """Whether a path is that artefact, or lies in it."""
    return name == artefact or name.startswith(f"{artefact}/")


def _files(folder: Path) -> list[str]:
    """All files but Hadoop's checksums of them, as paths below the folder."""
    files = (file for file in folder.rglob("*") if file.is_file() and not is_checksum_file(file))
    return sorted(file.relative_to(folder).as_posix() for file in files)


def _state(file: Path) -> tuple[int, int]:
    state = os.stat(file)
    return state.st_ino, state.st_mtime_ns


@dataclass(frozen=True)
class ContainerTables:
    """Tables in a container, below `prefix`: each task brings its files there when they are complete."""

    container: Container
    prefix: str

    @contextmanager
    def writing(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="loadcast-task-") as folder:
            yield Path(folder)
            upload_folder(self.container, Path(folder), self.prefix, _files(Path(folder)))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="loadcast-task-") as folder:
            blobs = [blob for blob in self.container.list(f"{self.prefix}/{name}") if blob.name.endswith(f"/{name}")]
            download_blobs(self.container, blobs, self.prefix, Path(folder))
            yield Path(folder, PurePosixPath(name))

    def keep_only(self, tables: Iterable[str], names: Iterable[str]) -> None:
        wanted = {f"{self.prefix}/{name}" for name in names}
        found = [blob.name for table in tables for blob in self.container.list(f"{self.prefix}/{table}/")]
        self.container.delete([name for name in found if name not in wanted])
        if missing := sorted(wanted.difference(found)):
            raise OutputError(f"{self.container.root.at(missing[0])} was written, and is gone. Run again.")

    def has(self, table: str) -> bool:
        return any(True for _ in self.container.list(f"{self.prefix}/{table}/"))

    def names(self, table: str) -> list[str]:
        blobs = (PurePosixPath(blob.name) for blob in self.container.list(f"{self.prefix}/{table}/"))
        files = sorted(path for path in blobs if path.suffix == ".parquet" and not is_hidden(path.name))
        return [path.relative_to(self.prefix).as_posix() for path in files]
