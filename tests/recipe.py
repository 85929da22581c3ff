"""The recipe of CONTRIBUTING.md for a feature column, done: what it says is what is installed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = Path(__file__).resolve().parents[1] / "Docs" / "CONTRIBUTING.md"


@dataclass(frozen=True)
class Recipe:
    """The blocks of the recipe: a module, what offers it, and what a configuration says."""

    module: str
    source: str
    offers: dict[str, dict[str, str]]
    settings: dict[str, Any]

    def install(self, folder: Path) -> Path:
        """Lay the package out in `folder` as an installer does; the folder is to be on Python's path."""
        (folder / f"{self.module}.py").write_text(self.source, encoding="utf-8")
        metadata = folder / f"{self.module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {self.module}\nVersion: 1.0\n")
        lines = [
            line
            for group, offers in self.offers.items()
            for line in (f"[{group}]", *(f"{name} = {value}" for name, value in offers.items()))
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return folder


def read_recipe() -> Recipe:
    """The recipe as it stands in the page."""
    section = PAGE.read_text(encoding="utf-8").split("## Adding a feature column\n")[1].split("\n## ")[0]
    (module,) = re.findall(r"Write the set as a module, here `(\w+)\.py`", section)
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    offers = tomllib.loads(blocks["toml"])["project"]["entry-points"]
    return Recipe(module, blocks["python"], offers, json.loads(blocks["json"]))


@contextmanager
def on_path(folder: Path, module: str) -> Iterator[None]:
    """The folder on this process' path, and its module forgotten afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(module, None)
