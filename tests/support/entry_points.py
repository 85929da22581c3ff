"""Packages that exist only for tests, installed as importlib.metadata sees them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, package: str, offers: Mapping[str, Mapping[str, str]]) -> Path:
    """Write the metadata of a package with entry points, name → object by group, as an installer lays it out.

    `folder` has to be on sys.path to be seen.
    """
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        line
        for group, points in offers.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder
