"""Whole folders to and from a container: some files at a time, all of them or an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import TypeVar

from loadcast.errors import InputError, OutputError
from loadcast.progress import Update
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.location import joined
from loadcast.storage.blob.uploading import Sent

_FILES_AT_A_TIME = 8
_PARQUET_END = b"PAR1"

T = TypeVar("T")


def upload_folder(
    container: Container,
    folder: Path,
    prefix: str,
    names: Iterable[str] | None = None,
    progress: Update = lambda done, total: None,
) -> dict[str, Sent]:
    """Bring files to blobs: `folder/name` to `prefix/name`. `names` are paths with `/`; None stands for all files.

    Gives what each blob is to be, by its whole name. `progress` is told bytes. Raises OutputError; some of the files
    may then have been brought.
    """
    if names is None:
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    sizes = {name: (folder / name).stat().st_size for name in sorted(names)}
    told = _Total(sum(sizes.values()), progress)

    sent: dict[str, Sent] = {}

    def upload(name: str) -> None:
        blob = joined(prefix, name)
        sent[blob] = container.upload(folder / name, blob)
        told.add(sizes[name])

    _each(list(sizes), upload)
    return sent


def check_arrived(container: Container, sent: Mapping[str, Sent], listed: Mapping[str, Blob]) -> None:
    """Look at blobs: each is there, in its size, with its MD5 where it has one. `listed` are those of a listing.

    What a listing does not show is asked for itself. Raises OutputError.
    """

    def check(name: str) -> None:
        wanted, blob = sent[name], listed.get(name) or container.stat(name)
        if blob is None:
            raise OutputError(f"{container.root.at(name)} was written, and is gone. Run again.")
        if blob.size != wanted.size or (wanted.md5 and blob.md5 and blob.md5 != wanted.md5):
            raise OutputError(
                f"{container.root.at(name)} is not what was sent: it has {blob.size:,} bytes, wanted {wanted.size:,}, "
                "or another MD5. Run again when nobody else writes there."
            )

    _each(list(sent), check)


def check_parquet(container: Container, blobs: Sequence[Blob]) -> None:
    """Look at the ends of Parquet files that other programs have written: without them, parts are missing.

    Raises OutputError.
    """

    def check(blob: Blob) -> None:
        with container.open(blob.name, blob.size, blob.etag) as file:
            file.seek(max(0, blob.size - len(_PARQUET_END)))
            if file.read() != _PARQUET_END:
                raise OutputError(f"{container.root.at(blob.name)} was not written to its end. Run again.")

    _each(blobs, check)


def download_blobs(
    container: Container,
    blobs: Sequence[Blob],
    prefix: str,
    folder: Path,
    progress: Update = lambda done, total: None,
) -> list[str]:
    """Bring blobs to files: `prefix/name` to `folder/name`; gives the names.

    `progress` is told bytes. Raises InputError before anything is brought where a name would lead out of the folder;
    later errors are those of Container.download, and some of the files may then have been brought.
    """
    names = {local_name(container, blob, prefix): blob for blob in blobs}
    folder.mkdir(parents=True, exist_ok=True)
    root = folder.resolve()
    for name in names:
        _check_inside(root, name, folder)
    told = _Total(sum(blob.size for blob in blobs), progress)
    _each(list(names), lambda name: container.download(names[name], folder / name, told.add))
    return list(names)


def local_name(container: Container, blob: Blob, prefix: str) -> str:
    """The path of a blob below `prefix`. Raises InputError where it is none, or no path of a file below a folder."""
    start = joined(prefix, "")
    name = blob.name.removeprefix(start)
    parts = name.split("/")
    if not blob.name.startswith(start) or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise InputError(
            f"{container.root.url}: found a blob named {blob.name[:200]!r}; wanted names of files below "
            f"{start or 'the container'}, without empty parts or '..'. Nothing was downloaded; remove that blob."
        )
    return name


def _check_inside(root: Path, name: str, folder: Path) -> None:
    """Links that stand in the folder may lead out of it."""
    if not (root / name).parent.resolve().is_relative_to(root) or (root / name).is_symlink():
        raise InputError(
            f"{folder / name} is or passes a link, and would be written elsewhere. Remove the link, or choose another "
            "folder. Nothing was downloaded."
        )


class _Total:
    """Adds up what several threads do."""

    def __init__(self, total: int, progress: Update) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = Lock()

    def add(self, number: int) -> None:
        with self._lock:
            self._done += number
            self._progress(self._done, self._total)


def _each(items: Sequence[T], work: Callable[[T], None]) -> None:
    """Do the work for all items, some at a time; the first error ends it, when what has begun is done."""
    with ThreadPoolExecutor(_FILES_AT_A_TIME, thread_name_prefix="transfer") as pool:
        try:
            for done in as_completed([pool.submit(work, item) for item in items]):
                done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
