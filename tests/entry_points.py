"""Packages that exist only for tests, installed as importlib.metadata sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, package: str, group: str, points: Mapping[str, str]) -> Path:
    """Write the metadata of a package with entry points into `folder`, which has to be on sys.path to be seen."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in points.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    return folder
