"""Input files wherever they are: found by path, URL or pattern, and opened as they were found."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast, runtime_checkable

from loadcast.errors import InputError
from loadcast.secrets import without_secrets
from loadcast.storage.compressed import is_compressed, unpacked
from loadcast.storage.files import SourceFile, find_files, version_of
from loadcast.storage.remote import OwnAccount, check_scheme, container_at, is_hadoop, is_remote

if TYPE_CHECKING:  # tasks, which import this, are to start at once
    from loadcast.settings import Settings
    from loadcast.storage.blob.container import Container

_DRAINED_BYTES = 1 << 20

Opened = tuple[BinaryIO, Callable[[], None]]


@runtime_checkable
class ReadsAhead(Protocol):
    """An open file for which it is worth knowing what will be read."""

    def will_read(self, start: int, stop: int) -> None:
        """Say that the bytes from `start` to `stop` come next."""


class Source(Protocol):
    """Where input files come from; it travels to the tasks that read them."""

    def opened(self, file: SourceFile) -> AbstractContextManager[Opened]:
        """The open file, and a function that raises InputError if it is no longer as it was found."""


@dataclass(frozen=True)
class LocalSource:
    """Files in folders that all tasks reach."""

    @contextmanager
    def opened(self, file: SourceFile) -> Iterator[Opened]:
        try:
            with cast(BinaryIO, open(file.path, "rb", buffering=0, opener=_open_at_once)) as raw:

                def check() -> None:
                    state = os.fstat(raw.fileno())
                    if (state.st_size, version_of(state)) != (file.size, file.version):
                        raise changed(file, SourceFile(file.path, state.st_size, version_of(state)).described())

                yield raw, check
        except FileNotFoundError as error:
            raise changed(file, "gone") from error


LOCAL = LocalSource()


@dataclass(frozen=True)
class BlobSource:
    """Blobs of one container; each is read in the state that it was found in, or not at all."""

    container: Container

    @contextmanager
    def opened(self, file: SourceFile) -> Iterator[Opened]:
        from loadcast.storage.blob.errors import BlobChangedError

        name = self.container.name_of(file.path)
        try:
            with cast(BinaryIO, self.container.open(name, file.size, file.version)) as raw:
                yield raw, lambda: None  # each request names the state that it wants
        except BlobChangedError as error:
            raise changed(file, str(error)) from error


def find_sources(settings: Settings, spark_settings: Collection[str] = ()) -> tuple[Source, list[SourceFile]] | None:
    """The configured data files as they are now, and how to open them; None where only Spark may know how.

    `spark_settings` are names of Spark's, which may declare a file system. Raises InputError where there are none,
    ConfigError where their address cannot be one.
    """
    check_scheme(settings.data_file, "dataFile", spark_settings)
    if is_hadoop(settings.data_file):
        return None
    if not is_remote(settings.data_file):
        return LOCAL, find_files(settings.data_file)
    container, pattern = container_at(settings.data_file, OwnAccount.of(settings))
    blobs = container.find(pattern)
    if not blobs:
        raise InputError(
            f"dataFile {without_secrets(settings.data_file)} matches no blob in {container.root.url}. "
            "Check the path; patterns are as in 20[0,1][0-9]/*/request.csv."
        )
    return BlobSource(container), [SourceFile(container.root.at(blob.name).url, blob.size, blob.etag) for blob in blobs]


def damaged_on_the_way(file: SourceFile, source: Source, error: Exception) -> InputError | None:
    """The error for a compressed blob that cannot be unpacked, where a second read of it can; else None."""
    if not isinstance(source, BlobSource) or not is_compressed(file.path):
        return None
    try:
        with source.opened(file) as (raw, _):
            stream = unpacked(file.path, raw)
            while stream.read(_DRAINED_BYTES):
                pass
    except (InputError, OSError, EOFError, zlib.error):
        return None
    return InputError(
        f"{file.shown} was damaged on the way ({error}): read once more, it was whole. "
        "Check the network and any proxy, or use https, and run again."
    )


def changed(file: SourceFile, now: str) -> InputError:
    """The error for a file that is no longer as it was found."""
    return InputError(
        f"{file.shown} changed while it was being read (was {file.described()}, is {now}). "
        "Run again when it is complete, or leave it out of dataFile."
    )


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer, should a pipe have taken the file's place."""
    return os.open(path, flags | os.O_NONBLOCK)
