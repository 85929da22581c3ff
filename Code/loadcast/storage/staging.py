"""A run being written: where its files go before they are published."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadcast import paths
from loadcast.storage.table_files import FolderTables, Tables

_FRESH = ".fresh"


class Hadoop(Protocol):
    """What a session's Hadoop has."""

    @property
    def version(self) -> tuple[int, ...]:
        """Its version, such as (3, 4, 2)."""

    def setting(self, key: str) -> str | None:
        """The value of a setting."""

    def has_class(self, name: str) -> bool:
        """Whether it, or a package that was added to it, has a class of that full name."""


class Staging(Protocol):
    """A run that nobody reads yet.

    `folder` is a folder of this machine for what the driver writes; what is in it at the end belongs to the run.
    `tables` is where the tasks' tables go, which may be elsewhere. Spark reads and writes its own artefacts at
    `address(name)`; what it wrote is in `folder`, too, after `fetch`.
    """

    @property
    def run(self) -> str:
        """The run's name, under which it will be published."""

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

    def carried_tables(self, table: str) -> Tables:
        """Where tasks find a table that was carried."""

    @property
    def fresh_tables(self) -> Tables:
        """For what the tasks write to replace parts of carried tables."""

    def replace(self, parts: Iterable[str]) -> None:
        """Let these parts of the fresh tables, such as `hourlyfeature/2016/06`, stand in the place of carried ones.

        To be said once, when all of them are complete.
        """

    def finished(self, names: Iterable[str]) -> None:
        """Say that nothing will change in these artefacts, so that they can be on their way while others are made."""

    def write_directly(self, hadoop: Hadoop) -> dict[str, str]:
        """Let tasks and Spark write to the run's container, no longer to `folder`, if that Hadoop can enter it.

        Gives the settings that it needs for it.
        """


def file_address(path: Path) -> str:
    """A path as Spark takes it: on a cluster, one without `file:` may mean another file system.

    Not percent-encoded, which Hadoop would take as it is.
    """
    return f"file://{path.absolute()}"


def fresh_tables_in(folder: Path) -> Tables:
    """A place for tables beside those that a folder holds."""
    return FolderTables(str(folder.absolute() / _FRESH))


def replace_in(folder: Path, parts: Iterable[str]) -> None:
    """Move these parts of the fresh tables in a folder to the place of what it holds; what else is fresh is removed."""
    for part in parts:
        target = folder / part
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / _FRESH / part).rename(target)
    shutil.rmtree(folder / _FRESH, ignore_errors=True)


@dataclass(frozen=True)
class FolderStaging:
    """A run that is wholly in one folder, which Spark's workers reach, too."""

    folder: Path

    @property
    def run(self) -> str:
        return self.folder.name.removeprefix(paths.STAGING_PREFIX)

    @property
    def tables(self) -> Tables:
        return FolderTables(str(self.folder.absolute()))

    def address(self, name: str) -> str:
        return file_address(self.folder / name)

    def fetch(self, names: Iterable[str]) -> None:
        return

    def carried_tables(self, table: str) -> Tables:
        return self.tables

    @property
    def fresh_tables(self) -> Tables:
        return fresh_tables_in(self.folder)

    def replace(self, parts: Iterable[str]) -> None:
        replace_in(self.folder, parts)

    def finished(self, names: Iterable[str]) -> None:
        return

    def write_directly(self, hadoop: Hadoop) -> dict[str, str]:
        return {}
