"""The months of a published run's statistics, each brought to this machine when it is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MONTH = re.compile(r"\d{4}/\d{2}")


class Months(Protocol):
    """The monthly parts of one run's tables."""

    def names(self, table: str) -> list[str]:
        """The months that a table has, oldest first, such as `2016/06`."""

    def folder(self, table: str, month: str) -> Path:
        """The folder with the files of one of them."""


@dataclass(frozen=True)
class MonthsInFolder:
    """Those of a run in a folder of this machine."""

    run: Path

    def names(self, table: str) -> list[str]:
        root = self.run / table
        folders = (folder.relative_to(root).as_posix() for folder in root.glob("*/*") if folder.is_dir())
        return sorted(name for name in folders if MONTH.fullmatch(name))

    def folder(self, table: str, month: str) -> Path:
        return self.run / table / month
