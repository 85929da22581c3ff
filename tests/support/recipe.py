"""The recipe of CONTRIBUTING.md for a feature column, done: what it says is what is installed."""

from __future__ import annotations

import json
import math
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import entry_points
from loadcast import schema

Row = dict[str, Any]
PAGE = Path(__file__).resolve().parents[2] / "Docs" / "CONTRIBUTING.md"


@dataclass(frozen=True)
class Recipe:
    """The blocks of the recipe: a module, what offers it, and what a configuration says."""

    module: str
    source: str
    offers: dict[str, dict[str, str]]
    settings: dict[str, Any]

    def install(self, folder: Path) -> Path:
        """Lay the package out in `folder` as an installer does; the folder is to be on Python's path."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.module}.py").write_text(self.source, encoding="utf-8")
        return entry_points.install(folder, self.module, self.offers)


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


def assert_as_described(rows: list[Row], hourly: list[Row], daily: list[Row]) -> None:
    """The recipe's columns are what it says of them, done another way: from single hours and days."""
    loads = {(row[schema.SERVER], row[schema.HOUR]): row[schema.PEAK_LOAD] for row in hourly}
    means = {(row[schema.SERVER], row[schema.DAY]): row["peakLoadDaily"] for row in daily}
    for row in rows:
        server, hour = row[schema.SERVER], row[schema.HOUR]
        day = hour.replace(hour=0)
        week = [means.get((server, day - timedelta(days=back)), 0.0) for back in range(3, 10)]
        assert row["quarter"] == (hour.month + 2) // 3
        assert row["peakLoadLag336"] == loads.get((server, hour - timedelta(days=14)), 0.0)
        assert math.isclose(row["peakLoadUpperWeek"], _upper_quartile(week), rel_tol=1e-12)


def _upper_quartile(values: list[float]) -> float:
    """Between the fifth and the sixth smallest of seven, half-way."""
    ordered = sorted(values)
    assert len(ordered) == 7
    return (ordered[4] + ordered[5]) / 2
