"""Whole runs of loadcast's scripts, as contenders."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.data import ROOT, Sample
from bench.harness import Contender
from commits import unpack_commit

ETL, FILTER_IP, TRAINING = "ETL", "ETL, FILTER_IP", "training"


def write_config(sample: Sample, folder: Path, name: str, locations: Mapping[str, str] | None = None) -> Path:
    """A configuration for the sample, with its results in `folder`/`name`; `locations` says where they are instead."""
    begin, end, split = sample.period
    content = {
        "duration": "CUSTOM",
        "trainBegin": begin,
        "trainEnd": end,
        "testSplitStart": split,
        **(locations or {"dataFile": sample.pattern, "output": str(folder / name)}),
    }
    config = folder / f"{name}.json"
    config.write_text(json.dumps(content), encoding="utf-8")
    return config


def whole_run(name: str, kind: str, config: Path, cores: int, root: Path = ROOT) -> Contender:
    """The script of ETL, FILTER_IP or TRAINING, of this tree or of one unpacked at `root`, by this Python."""
    script = "train.py" if kind == TRAINING else "etl.py"
    filtered = ["FILTER_IP"] if kind == FILTER_IP else []
    command = [sys.executable, str(root / "Code" / script), str(config), *filtered, "--master", f"local[{cores}]"]
    return Contender(name, command, {"PYTHONPATH": str(root / "Code")})


def trees(before: str | None, folder: Path) -> list[tuple[str, Path]]:
    """What is run, and what is put behind a contender's name: this tree, then the commit before, if one is named."""
    earlier = [] if before is None else [(f" at {before}", unpack_commit(before, folder / "before"))]
    return [("", ROOT), *earlier]
