"""A run on its way into a container."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from loadcast.errors import OutputError
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.hadoop import Driver, find_driver
from loadcast.storage.blob.transfer import check_arrived, check_parquet, download_blobs, upload_folder
from loadcast.storage.blob.uploading import Sent
from loadcast.storage.publish import is_checksum_file
from loadcast.storage.staging import Hadoop, file_address, fresh_tables_in, replace_in
from loadcast.storage.table_files import FolderTables, Tables, is_hidden

_COPIES_AT_ONCE = 16


@dataclass(frozen=True)
class Carried:
    """The run before, as its path in the container, and the artefacts that a new one starts with.

    `files` are those of the run's record.
    """

    run: str
    names: tuple[str, ...]
    files: Collection[str] = ()


class ContainerStaging:
    """A run that is gathered in a folder, or written straight to its place in the container by tasks and Spark.

    What is carried is copied by the service, when all else is done.
    """

    def __init__(self, folder: Path, container: Container, run: str, carried: Carried | None) -> None:
        self.folder = folder
        self._container, self._run, self._carried = container, run, carried
        self._replaced: list[str] = []
        self._fetched: dict[str, tuple[int, int]] = {}
        self._driver: Driver | None = None
        self._by_spark: set[str] = set()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._uploads: dict[Future[dict[str, Sent]], list[str]] = {}
        self._closed = False

    @property
    def run(self) -> str:
        return PurePosixPath(self._run).name

    def write_directly(self, hadoop: Hadoop) -> dict[str, str]:
        driver = find_driver(self._container, hadoop)
        if driver is None:
            return {}
        self._driver, settings = driver
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
            run = self._carried.run
        else:
            run = self._run
            self._by_spark.add(name)
        return self._driver.address(self._container.root.at(f"{run}/{name}"))

    def fetch(self, names: Iterable[str]) -> None:
        for name in names:
            if self._is_carried(name):
                self._fetch(self._carried_blobs(name), self._carried.run if self._carried else "")
            elif self._driver:
                self._fetch(self._made_by_spark(name), self._run)

    def carried_tables(self, table: str) -> Tables:
        if self._driver and self._carried:
            return ContainerTables(self._container, self._carried.run)
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

    def upload(self) -> dict[str, Sent]:
        """Bring all that belongs to the run to its place in the container; gives what each of the blobs is to be."""
        new = self._new_files()
        sent = self._copy(without={*new})
        for name in self._by_spark:
            for blob in self._container.list(f"{self._run}/{name}/"):
                if blob.md5:
                    self._container.forget_md5(blob.name)
        wait(self._uploads)
        self._check_uploads()
        ahead = {name for names in self._uploads.values() for name in names}
        for upload in self._uploads:
            sent |= upload.result()
        return sent | self._upload([name for name in new if name not in ahead])

    def prove(self, sent: Mapping[str, Sent]) -> dict[str, int]:
        """Look at the run's blobs as they lie in the container: all that was sent is there, as it was sent.

        Gives the files of the run: name → size in bytes. Raises OutputError.
        """
        blobs = {blob.name: blob for blob in self._container.list(f"{self._run}/")}
        check_arrived(self._container, sent, blobs)
        others = [blob for blob in blobs.values() if blob.name not in sent and blob.name.endswith(".parquet")]
        check_parquet(self._container, others)
        sizes = {name: blob.size for name, blob in blobs.items()} | {name: blob.size for name, blob in sent.items()}
        return {name.removeprefix(f"{self._run}/"): size for name, size in sorted(sizes.items())}

    def _copy(self, without: set[str]) -> dict[str, Sent]:
        """Let the service copy what is carried, but for these names."""
        carried = {f"{self._run}/{self._below_run(blob)}": blob for blob in self._carried_blobs()}
        wanted = {name: blob for name, blob in carried.items() if name.removeprefix(f"{self._run}/") not in without}
        with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
            jobs = [pool.submit(self._container.copy, blob.name, name) for name, blob in wanted.items()]
            for job in jobs:
                job.result()
        return {name: Sent(blob.size, blob.md5) for name, blob in wanted.items()}

    def _check_uploads(self) -> None:
        """Raise the error of an upload that has failed meanwhile: now rather than when all else is done."""
        for upload in self._uploads:
            if upload.done():
                upload.result()

    def _upload(self, names: list[str]) -> dict[str, Sent]:
        return upload_folder(self._container, self.folder, self._run, names, self._go_on)

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
        return self._carried is not None and any(_within(name, artefact) for artefact in self._carried.names)

    def _carried_blobs(self, only: str | None = None) -> list[Blob]:
        """The blobs of the run before that are carried, those of one artefact or of all."""
        if self._carried is None:
            return []
        names = [only] if only else self._carried.names
        listed = {blob.name: blob for name in names for blob in self._container.list(f"{self._carried.run}/{name}")}
        for name in self._carried.files:
            # A listing that leaves out files of the run's record is not believed.
            path = f"{self._carried.run}/{name}"
            if (
                path not in listed
                and any(_within(name, artefact) for artefact in names)
                and not self._is_replaced(name)
            ):
                listed[path] = self._asked(path)
        return [blob for blob in listed.values() if self._is_wanted(self._below_run(blob))]

    def _asked(self, path: str) -> Blob:
        blob = self._container.stat(path)
        if blob is None:
            raise OutputError(
                f"{self._container.root.at(path)} is a part of a published run, and is gone. "
                "Run loadcast runs repair OUTPUT, then run again."
            )
        return blob

    def _is_wanted(self, name: str) -> bool:
        return self._is_carried(name) and not self._is_replaced(name)

    def _is_replaced(self, name: str) -> bool:
        return any(_within(name, part) for part in self._replaced)

    def _below_run(self, blob: Blob) -> str:
        return blob.name.removeprefix(f"{self._carried.run}/") if self._carried else blob.name


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
            sent = upload_folder(self.container, Path(folder), self.prefix, _files(Path(folder)))
            check_arrived(self.container, sent, {})

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="loadcast-task-") as folder:
            blobs = [blob for blob in self.container.list(f"{self.prefix}/{name}") if blob.name.endswith(f"/{name}")]
            download_blobs(self.container, blobs, self.prefix, Path(folder))
            yield Path(folder, PurePosixPath(name))

    def keep_only(self, tables: Iterable[str], names: Iterable[str]) -> None:
        wanted = {f"{self.prefix}/{name}" for name in names}
        present = [blob.name for table in tables for blob in self.container.list(f"{self.prefix}/{table}/")]
        self.container.delete([name for name in present if name not in wanted])
        if missing := sorted(wanted.difference(present)):
            raise OutputError(f"{self.container.root.at(missing[0])} was written, and is gone. Run again.")

    def has(self, table: str) -> bool:
        return any(True for _ in self.container.list(f"{self.prefix}/{table}/"))

    def names(self, table: str) -> list[str]:
        blobs = (PurePosixPath(blob.name) for blob in self.container.list(f"{self.prefix}/{table}/"))
        files = sorted(path for path in blobs if path.suffix == ".parquet" and not is_hidden(path.name))
        return [path.relative_to(self.prefix).as_posix() for path in files]
