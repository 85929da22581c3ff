"""A run being written: where its files go before they are published."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadcast.storage.tables import FolderTables, Tables


class Staging(Protocol):
    """A run that nobody reads yet.

    `folder` is a folder of this machine for what the driver writes; what is in it at the end belongs to the run.
    `tables` is where the tasks' tables go, which may be elsewhere. Spark reads and writes its own artefacts at
    `address(name)`; what it wrote is in `folder`, too, after `fetch`.
    """

    @property
    def folder(self) -> Path:
        """For what the driver writes."""

    @property
    def tables(self) -> Tables:
        """For what the tasks write."""

    def address(self, name: str) -> str:
        """Where Spark finds an artefact that was carried, or writes a new one: a path or URL."""

    def fetch(self, names: Iterable[str]) -> None:
        """Have these artefacts, or parts of them, in `folder`; those that are absent are left out."""

    def drop(self, name: str) -> None:
        """Leave a carried artefact, or a part such as `hourlyfeature/2016/06`, out of the run."""

    def finished(self, names: Iterable[str]) -> None:
        """Say that nothing will change in these artefacts, so that they can be on their way while others are made."""

    def spark_access(self, known: Callable[[str], str | None]) -> dict[str, str] | None:
        """Hadoop's settings with which Spark may write to the run's container itself; None where it cannot.

        `known` gives the value of a setting that Hadoop has already.
        """

    def write_directly(self) -> None:
        """Let tasks and Spark write to the run's container, no longer to `folder`."""


def file_address(path: Path) -> str:
    """A path as Spark takes it: on a cluster, one without `file:` may mean another file system.

    Not percent-encoded, which Hadoop would take as it is.
    """
    return f"file://{path.absolute()}"


@dataclass(frozen=True)
class FolderStaging:
    """A run that is wholly in one folder, which Spark's workers reach, too."""

    folder: Path

    @property
    def tables(self) -> Tables:
        return FolderTables(str(self.folder.absolute()))

    def address(self, name: str) -> str:
        return file_address(self.folder / name)

    def fetch(self, names: Iterable[str]) -> None:
        return

    def drop(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def finished(self, names: Iterable[str]) -> None:
        return

    def spark_access(self, known: Callable[[str], str | None]) -> dict[str, str] | None:
        return None

    def write_directly(self) -> None:
        return
