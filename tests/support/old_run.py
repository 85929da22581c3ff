"""The run that the commit before format versions left: see tests/data/format-1/README.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from loadcast.settings import Settings, parse_settings

FOLDER = Path(__file__).resolve().parents[1] / "data" / "format-1"
OUTPUT = FOLDER / "output"
SERVERS = ("115.220.193.16", "210.181.165.92")


def copied(folder: Path) -> Settings:
    """A copy of the run, to be written to; gives the configuration whose output it is."""
    shutil.copytree(OUTPUT, folder / "output", symlinks=True)
    plain = json.loads((FOLDER / "config.json").read_text())
    return parse_settings({**plain, "dataFile": str(folder / "none.csv"), "output": str(folder / "output")})
