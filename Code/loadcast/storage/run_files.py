"""The files of a published run, in an output folder or in a container, to be brought elsewhere."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from loadcast import paths
from loadcast.artefacts.document import MAX_BYTES
from loadcast.errors import InputError
from loadcast.progress import Update
from loadcast.storage.blob.location import joined
from loadcast.storage.checksum import listed_sums
from loadcast.storage.output import FolderOutput, Output
from loadcast.storage.publish import no_run, open_run
from loadcast.storage.table_files import is_hidden

if TYPE_CHECKING:
    from loadcast.storage.blob.container import Blob
    from loadcast.storage.blob.output import ContainerOutput

#: More than this no run has; a list that goes on is not read to its end.
MAX_FILES = 100_000


#: What Spark and Hadoop leave beside data: a mark of success, and checksums.
_MARK = re.compile(r"_SUCCESS|\._SUCCESS\.crc|\.part-[^/]*\.crc")
_TABLE_FILE = re.compile(r"part[^/]*")


def is_mark(name: str) -> bool:
    """Whether a file of a run, named by its path, is a mark or checksum that Spark leaves beside its data."""
    *folders, last = name.split("/")
    return _MARK.fullmatch(last) is not None and not any(map(is_hidden, folders))


def foreign_files(run: Path) -> list[str]:
    """Files and links below a run's folder that no run has put there, sorted; names are paths with `/`.

    A bundle's files are those that the folder's own `info` lists; tables hold files of the name part….
    """
    listed = _listed(run)
    files = [file for file in run.rglob("*") if file.is_symlink() or not file.is_dir()] if run.exists() else []
    names = {file.relative_to(run).as_posix(): file for file in files}
    return sorted(name for name, file in names.items() if file.is_symlink() or not _is_of_run(name, listed))


def _is_of_run(name: str, listed: set[str]) -> bool:
    part, is_below, _ = name.partition("/")
    if not is_below:
        return part in paths.ARTEFACTS
    is_table = part not in paths.BUNDLE_FOLDERS and _TABLE_FILE.fullmatch(name.rpartition("/")[2]) is not None
    return name in listed or is_table or is_mark(name)


def _listed(run: Path) -> set[str]:
    """The files that a folder's `info` lists; none where it is not as a run's."""
    try:
        with (run / paths.INFO).open("rb") as file:
            return set(listed_sums(file.read(MAX_BYTES + 1)))
    except (OSError, ValueError):
        return set()


class RunFiles(Protocol):
    """A published run. Names are paths below it, with `/`."""

    @property
    def run(self) -> str:
        """The run's name."""

    @property
    def shown(self) -> str:
        """For messages: a path or URL without secrets."""

    def info(self) -> bytes:
        """What `info` holds; nothing where there is none."""

    def sizes(self, parts: Iterable[str]) -> Mapping[str, int]:
        """Name → size in bytes of each file of these artefacts; the names may be anything."""

    def fetch(self, names: Sequence[str], folder: Path, update: Update) -> None:
        """Bring files to the folder, each under its name once it is whole. `update` is told bytes."""

    def is_there(self) -> bool:
        """Whether the run has not been removed meanwhile."""


def files_of_model(output: Output) -> RunFiles:
    """The run with the output's newest model. Raises ArtefactError where there is none."""
    if isinstance(output, FolderOutput):
        return FolderRun(open_run(output.folder, paths.MODEL))
    from loadcast.storage.blob.output import ContainerOutput

    if isinstance(output, ContainerOutput):
        return ContainerRun(output)
    raise TypeError(f"{type(output).__name__} is no output that is known here")


class FolderRun:
    """A run in an output folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.run, self.shown = folder.name, str(folder)

    def info(self) -> bytes:
        if not (self._folder / paths.INFO).exists():
            return b""
        with self._open(paths.INFO) as file:
            return file.read()

    def sizes(self, parts: Iterable[str]) -> dict[str, int]:
        files = [file for part in parts for path in [self._folder / part] for file in [path, *path.rglob("*")]]
        # A link could lead anywhere, and no run has one.
        regular = [file for file in files if file.is_file() and not file.is_symlink()]
        return {file.relative_to(self._folder).as_posix(): file.stat().st_size for file in sorted(regular)}

    def fetch(self, names: Sequence[str], folder: Path, update: Update) -> None:
        sizes = self.sizes(names)
        done = 0
        for name in names:
            fresh = folder / f".{secrets.token_hex(6)}.part"
            with self._open(name) as source, fresh.open("xb") as target:
                shutil.copyfileobj(source, target)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh, folder / name)
            done += sizes[name]
            update(done, sum(sizes.values()))

    def is_there(self) -> bool:
        return self._folder.exists()

    def _open(self, name: str) -> BinaryIO:
        try:
            return (self._folder / name).open("rb")
        except OSError as error:
            raise InputError(f"Cannot read {self._folder / name}: {error.strerror}. Check who may read it.") from error


class ContainerRun:
    """The run with the newest model in a container."""

    def __init__(self, output: ContainerOutput) -> None:
        newest = next((run.name for run in output.runs() if run.is_model), None)
        if newest is None:
            raise no_run(output.shown, paths.MODEL)
        self._container = output.container
        self._prefix = joined(output.prefix, paths.run_path(newest))
        self._blobs: dict[str, Blob] = {}
        self.run, self.shown = newest, output.container.root.at(self._prefix).url

    def info(self) -> bytes:
        content = self._container.get(f"{self._prefix}/{paths.INFO}")
        return content[0] if content else b""

    def sizes(self, parts: Iterable[str]) -> dict[str, int]:
        wanted = set(parts)
        for blob in self._container.list(f"{self._prefix}/"):
            name = blob.name.removeprefix(f"{self._prefix}/")
            if name.partition("/")[0] in wanted:
                self._blobs[name] = blob
            if len(self._blobs) > MAX_FILES:
                break
        return {name: blob.size for name, blob in self._blobs.items()}

    def fetch(self, names: Sequence[str], folder: Path, update: Update) -> None:
        from loadcast.storage.blob.transfer import download_blobs

        download_blobs(self._container, [self._blobs[name] for name in names], self._prefix, folder, update)

    def is_there(self) -> bool:
        return self._container.stat(f"{self._prefix}/{paths.INFO}") is not None
