"""A container of blobs: everything that is done with one goes through here."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobProperties, ContentSettings

from loadcast.errors import InputError, LoadcastError, OutputError
from loadcast.secrets import shown
from loadcast.storage.blob.access import ANONYMOUS, Access
from loadcast.storage.blob.client import Client, connect
from loadcast.storage.blob.downloading import download_file
from loadcast.storage.blob.errors import BlobChangedError, ChangedError, error_code, status_of
from loadcast.storage.blob.faults import explained
from loadcast.storage.blob.lease import Lease, held_lease
from loadcast.storage.blob.listing import list_page
from loadcast.storage.blob.location import BlobLocation, check_name
from loadcast.storage.blob.names import fixed_prefix, matcher
from loadcast.storage.blob.policy import Attempts
from loadcast.storage.blob.reading import BlobReader, RangeReader, md5_of, read_whole
from loadcast.storage.blob.uploading import Sent, upload_file

#: Written with each blob that is put, to know an own write again whose answer was lost.
_WRITER = "loadcastwriter"
#: The mark of folders that WASB, and accounts with folders, show among the blobs.
_FOLDER = "hdi_isfolder"
_CONDITION_FAILED = {"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}
_COPY_POLL_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class Blob:
    """A blob as it was when it was found: `size` in bytes, and an `etag` that changes whenever it is written."""

    name: str
    size: int
    etag: str
    md5: bytes | None


@dataclass(frozen=True)
class Container:
    """A container and the right to enter it. It may be sent to other processes; each makes its own connections.

    Names are those of blobs in the container, with `/` between folders. Methods raise ConfigError where the
    credentials do not hold, InputError where something cannot be read, OutputError where it cannot be written. No
    message holds a secret.
    """

    root: BlobLocation
    access: Access = ANONYMOUS

    def name_of(self, url: str) -> str:
        """The name of the blob that has this URL, as `root.at(name).url` gives it."""
        return unquote(url.removeprefix(f"{self.root.url}/"))

    def list(self, prefix: str = "", marks: bool = False) -> Iterator[Blob]:
        """All blobs whose name begins with the prefix, sorted by name; with `marks`, folders' marks too."""
        token: str | None = ""
        while token is not None:
            page, token = self._read(prefix, partial(list_page, self._client.sdk, prefix, token))
            yield from (_as_blob(blob) for blob in page if marks or not _is_folder(blob))

    def find(self, pattern: str) -> builtins.list[Blob]:
        """The blobs that match a pattern, sorted by name, as storage/files finds local files; there may be none.

        A name that exists is that blob and no pattern, whatever signs it holds.
        """
        prefix = fixed_prefix(pattern)
        if prefix == pattern:
            blob = self.stat(pattern) if pattern and not pattern.endswith("/") else None
            return [blob] if blob else []
        matches = matcher(pattern)
        matching = [blob for blob in self.list(prefix) if matches(blob.name)]
        exact = [blob for blob in matching if blob.name == pattern]
        return exact or sorted(matching, key=lambda blob: blob.name)

    def stat(self, name: str) -> Blob | None:
        """The blob of this name; None where there is none."""
        blob = self._blob(name, InputError)

        def ask(attempts: Attempts) -> BlobProperties | None:
            return _unless_absent(lambda: blob.get_blob_properties(read_timeout=attempts.stall_timeout_s))

        properties = self._read(name, ask)
        return None if properties is None or _is_folder(properties) else _as_blob(properties, name)

    def get(self, name: str) -> tuple[bytes, str] | None:
        """What a small blob (up to 64 MB) holds, and its ETag; None where there is no such blob."""
        _checked(self.root, name, InputError)
        return self._read(name, lambda attempts: _unless_absent(lambda: read_whole(self._client, name, attempts)))

    def put(self, name: str, data: bytes, *, etag: str | None = None, new: bool = False) -> str:
        """Write a small blob at once, and give its ETag.

        With an `etag`, only if the blob still has it; with `new`, only if there is none: else ChangedError, and
        nothing is written.
        """
        blob = self._blob(name, OutputError)
        writer = secrets.token_hex(8)
        conditions: dict[str, Any] = {}  # the SDK takes no None for them
        if etag is not None:
            conditions = {"etag": etag, "match_condition": MatchConditions.IfNotModified}

        def upload(attempts: Attempts) -> str:
            settings = ContentSettings(content_md5=bytearray(md5_of(data)))
            try:
                answer = blob.upload_blob(
                    data,
                    overwrite=not new,
                    metadata={_WRITER: writer},
                    content_settings=settings,
                    validate_content=True,
                    **conditions,
                )
                return str(answer["etag"])
            except HttpResponseError as error:
                if status_of(error) not in {409, 412} or error_code(error) not in _CONDITION_FAILED:
                    raise
                # An earlier attempt may have been done, and only its answer lost.
                properties = _unless_absent(blob.get_blob_properties) if attempts.failures else None
                if properties is not None and properties.metadata.get(_WRITER) == writer:
                    return str(properties.etag)
            raise _changed(self.root.at(name))

        return self._write(name, upload)

    def open(self, name: str, size: int, etag: str) -> BlobReader:
        """A blob as a file open for reading, in the state told by its size and ETag; see BlobReader."""
        return BlobReader(self.ranges(name, size, etag))

    def ranges(self, name: str, size: int, etag: str) -> RangeReader:
        """As `open`, for byte ranges."""
        _checked(self.root, name, InputError)
        return RangeReader(self.root, self.access, name, size, etag)

    def upload(self, path: Path, name: str) -> Sent:
        """Make a blob of a local file, or replace one, with its MD5; each block is checked on arrival."""
        blob = self._blob(name, OutputError)
        with explained(self.root.at(name), self.access, OutputError):
            try:
                return upload_file(self._client, blob, path)
            except FileNotFoundError as error:
                raise OutputError(f"Cannot upload {path}: {error.strerror}. Run again.") from error

    def download(self, blob: Blob, path: Path, arrived: Callable[[int], None] = lambda number: None) -> None:
        """Bring a blob to a local file, which appears when it is complete; an interrupted download is taken up again.

        Checked by size and ETag, and by MD5 where the blob has one. `arrived` is called with numbers of new bytes. The
        caller makes sure that the path is where it may be. Raises OutputError where the file cannot be written.
        """
        source = self.ranges(blob.name, blob.size, blob.etag)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            download_file(source, path, blob.md5, arrived)
        except BlobChangedError as error:
            raise InputError(f"{error}. Run again when nobody writes to it.") from error
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror or error}. Choose another folder.") from error

    def copy(self, name: str, target: str) -> None:
        """Copy a blob to another name in the same container, over what is there; the service does it."""
        source, blob = self._blob(name, OutputError), self._blob(target, OutputError)
        # For a SAS its query has to be in the source's URL.
        url = f"{source.url}?{self.access.secret}" if self.access.kind == "sas" else source.url
        status: Any = self._write(target, lambda _: blob.start_copy_from_url(url))["copy_status"]
        while status == "pending":
            self._client.policy.sleep(_COPY_POLL_S)
            status = self._write(target, lambda _: blob.get_blob_properties()).copy.status
        if status != "success":
            raise OutputError(f"{self.root.at(name)} was not copied to {target}: its copy {status}. Run again.")

    def forget_md5(self, name: str) -> None:
        """Remove the MD5 that another program has left with a blob: Hadoop's driver leaves that of the last piece."""
        blob = self._blob(name, OutputError)
        self._write(name, lambda _: blob.set_http_headers(ContentSettings()))

    def delete_unchanged(self, name: str, etag: str) -> None:
        """Remove a blob if it still has that ETag: else ChangedError. One that is not there does no harm."""
        blob = self._blob(name, OutputError)

        def remove(_: Attempts) -> None:
            try:
                blob.delete_blob("include", etag=etag, match_condition=MatchConditions.IfNotModified)
                return
            except HttpResponseError as error:
                if error_code(error) == "BlobNotFound":
                    return
                if status_of(error) != 412:
                    raise
            raise _changed(self.root.at(name))

        self._write(name, remove)

    def delete(self, names: Iterable[str]) -> None:
        """Remove blobs; those that are not there do no harm."""

        def remove(name: str) -> None:
            blob = self._blob(name, OutputError)
            self._write(name, lambda _: _unless_absent(lambda: blob.delete_blob(delete_snapshots="include")))

        for _ in self._client.threads.map(remove, names):
            pass

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Hold the writer's lock that a small blob stands for; raises OutputError where another holds it.

        The blob is made if need be. The lock ends by itself a minute after its holder was killed.
        """
        if self.stat(name) is None:
            with suppress(ChangedError):  # another was faster; who gets the lease is what counts
                self.put(name, b"", new=True)
        return held_lease(self._blob(name, OutputError), self.root.at(name), self.access, self._client.policy)

    @property
    def _client(self) -> Client:
        return connect(self.root, self.access)

    def _blob(self, name: str, kind: type[LoadcastError]) -> BlobClient:
        _checked(self.root, name, kind)
        return self._client.sdk.get_blob_client(name)

    def _read(self, name: str, operation: Callable[[Attempts], T]) -> T:
        return self._explained(name, operation, InputError)

    def _write(self, name: str, operation: Callable[[Attempts], T]) -> T:
        return self._explained(name, operation, OutputError)

    def _explained(self, name: str, operation: Callable[[Attempts], T], kind: type[LoadcastError]) -> T:
        with explained(self.root.at(name), self.access, kind):
            return self._client.policy.call(operation)


def _changed(location: BlobLocation) -> ChangedError:
    return ChangedError(f"{location} was written by another program at the same time. Run again when it is done.")


def _checked(root: BlobLocation, name: str, kind: type[LoadcastError]) -> None:
    try:
        check_name(name)
    except ValueError as problem:
        raise kind(f"{root.url}: the blob name '{shown(name, 100)}' {problem}. Give the blob another name.") from None


def _unless_absent(operation: Callable[[], T]) -> T | None:
    """What the operation gives; None where the blob is not there."""
    try:
        return operation()
    except HttpResponseError as error:
        if status_of(error) == 404 and error_code(error) == "BlobNotFound":
            return None
        raise


def _as_blob(blob: Any, name: str | None = None) -> Blob:
    md5 = blob.content_settings.content_md5
    return Blob(name or blob.name, blob.size, _etag(blob.etag), bytes(md5) if md5 else None)


def _etag(text: Any) -> str:
    """An ETag as headers have it, in quotes: listings leave them out."""
    return f'"{str(text).strip(chr(34))}"'


def _is_folder(blob: BlobProperties) -> bool:
    return str((blob.metadata or {}).get(_FOLDER, "")).lower() == "true"
