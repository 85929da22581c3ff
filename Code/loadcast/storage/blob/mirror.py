"""Parts of a container's published runs on this machine, as an output folder of the same shape."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadcast import paths
from loadcast.errors import InputError, OutputError
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import joined
from loadcast.storage.blob.transfer import download_blobs
from loadcast.storage.months import MONTH
from loadcast.storage.publish import replace_link
from loadcast.storage.runs import is_run_name
from loadcast.system.caches import CACHE_VARIABLE, cache_folder

_UNLINKED_SECONDS = 24 * 3600


class ReplacedError(InputError):
    """The run is not, or no longer, whole in the container: newer ones have replaced it."""


class Mirror:
    """A folder with what was wanted of a container's runs. Runs never change, so what is there stays good."""

    def __init__(self, container: Container, prefix: str) -> None:
        prefix = prefix.strip("/")
        self._container, self._runs = container, joined(prefix, paths.RUNS)
        digest = hashlib.sha256(container.root.at(prefix).url.encode()).hexdigest()[:16]
        self.folder = cache_folder() / "runs" / f"{container.root.container}-{digest}"

    def fetch(self, link: str, run: str, names: Iterable[str]) -> None:
        """Have these artefacts of a run, and the link that leads to it.

        Raises OutputError where it cannot be kept, ReplacedError where the run is gone.
        """
        with self._explained():
            self._bring(run, names)
            self._check_complete(run)
            replace_link(self.folder / link, paths.run_path(run))
            self._prune()

    def forget(self, link: str) -> None:
        """Remove the link to what the container no longer names, such as the model of a run that was rolled back."""
        with self._explained():
            (self.folder / link).unlink(missing_ok=True)

    def part(self, run: str, name: str) -> Path:
        """The copy of an artefact of a run, or of a part of one. Raises OutputError where it cannot be kept."""
        with self._explained():
            return self._bring(run, [name]) / name

    def names(self, run: str, artefact: str) -> list[str]:
        """The files of an artefact, as paths below it."""
        root = f"{self._runs}/{run}/{artefact}/"
        return [blob.name.removeprefix(root) for blob in self._container.list(root)]

    def _bring(self, run: str, names: Iterable[str]) -> Path:
        folder = self.folder / paths.run_path(run)
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # in use: not to be removed by another process soon
        for name in names:
            if not (folder / name).exists():
                self._download(f"{run}/{name}", folder / name)
        return folder

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"Cannot keep a copy of {self._container.root.url} in {self.folder}: {error.strerror or error}. "
                f"Make room, or name another folder in {CACHE_VARIABLE}."
            ) from error

    def _download(self, name: str, target: Path) -> None:
        """Bring one artefact, which appears whole; nothing where the run has none."""
        path = f"{self._runs}/{name}"
        blobs = [blob for blob in self._container.list(path) if blob.name == path or blob.name.startswith(f"{path}/")]
        if not blobs:
            return
        self._check_complete(name.partition("/")[0])  # else the listing may show what a removal has left
        fresh = self.folder / f".{secrets.token_hex(6)}"
        try:
            download_blobs(self._container, blobs, self._runs, fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.replace(fresh / name, target)
            except OSError:
                if not target.exists():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _check_complete(self, run: str) -> None:
        """Raise ReplacedError where the run's record is gone: it is the first that is removed of a run."""
        record = f"{self._runs}/{run}/{paths.COMPLETE}"
        if self._container.stat(record) is None:
            raise ReplacedError(
                f"{self._container.root.at(record)} is gone: newer runs have replaced this one. Try again."
            )

    def _prune(self) -> None:
        """Remove runs that no link leads to, but not at once: another process may be reading."""
        linked = {(self.folder / link).resolve().name for link in (paths.CURRENT, paths.MODEL)}
        old = time.time() - _UNLINKED_SECONDS
        for run in (self.folder / paths.RUNS).iterdir():
            if is_run_name(run.name) and run.name not in linked and run.stat().st_mtime < old:
                shutil.rmtree(run, ignore_errors=True)


@dataclass(frozen=True)
class MonthsInContainer:
    """Those of a run in a container, copied to its mirror. Runs never change, so each table is listed once."""

    mirror: Mirror
    run: str
    _listed: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def names(self, table: str) -> list[str]:
        return sorted(self._files(table))

    def folder(self, table: str, month: str) -> Path:
        folder = self.mirror.part(self.run, f"{table}/{month}")
        if any(not (folder / name).is_file() for name in self._files(table)[month]):
            shutil.rmtree(folder, ignore_errors=True)
            raise InputError(f"{folder} is gone, or a part of it: newer runs have replaced this one. Try again.")
        return folder

    def _files(self, table: str) -> dict[str, set[str]]:
        """The names of each month's files."""
        if table not in self._listed:
            months = self._listed[table] = {}
            for path in self.mirror.names(self.run, table):
                month, _, name = path.rpartition("/")
                if MONTH.fullmatch(month):
                    months.setdefault(month, set()).add(name)
        return self._listed[table]
