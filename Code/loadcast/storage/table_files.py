"""Where the files of tables lie that many tasks write and read: a folder that all of them reach, or a container.

Objects of these classes travel to the tasks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadcast.errors import OutputError


class Tables(Protocol):
    """A place for tables; files are named by their path below it, such as `rejected/part-0.parquet`."""

    def writing(self) -> AbstractContextManager[Path]:
        """Give a folder for one task's new files; they are in place when the block ends without an error."""

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """Give the path of a file, as long as the block runs."""

    def keep_only(self, tables: Iterable[str], names: Iterable[str]) -> None:
        """Remove all files of the tables but those named. Raises OutputError where one of those is not there."""

    def has(self, table: str) -> bool:
        """Whether the table has a file."""

    def names(self, table: str) -> list[str]:
        """The table's Parquet files, in the order of their names."""


@dataclass(frozen=True)
class FolderTables:
    """Tables in a folder that all tasks reach."""

    folder: str

    @contextmanager
    def writing(self) -> Iterator[Path]:
        yield Path(self.folder)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield Path(self.folder, name)

    def keep_only(self, tables: Iterable[str], names: Iterable[str]) -> None:
        root = Path(self.folder)
        wanted = {root / name for name in names}
        for table in tables:
            for file in (root / table).rglob("*"):
                if file.is_file() and file not in wanted:
                    file.unlink()
            _remove_empty(root / table)
        if missing := [file for file in sorted(wanted) if not file.is_file()]:
            raise OutputError(
                f"{missing[0]}: found nothing, though a worker has written it ({len(missing)} such files): the "
                "cluster's machines do not share this folder. Choose an output in a folder that they share, or in a "
                "container that Spark can enter."
            )

    def has(self, table: str) -> bool:
        return any(file.is_file() for file in Path(self.folder, table).rglob("*"))

    def names(self, table: str) -> list[str]:
        files = sorted(Path(self.folder, table).rglob("*.parquet"))
        return [file.relative_to(self.folder).as_posix() for file in files if not is_hidden(file.name)]


def is_hidden(name: str) -> bool:
    """Whether a file is none of a table's, as Spark sees it: a checksum, a mark, work in progress."""
    return name.startswith((".", "_"))


def _remove_empty(folder: Path) -> None:
    """Remove a table's folder if no file is left in it."""
    if not any(item.is_file() for item in folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
