"""Session logs to measure on, made with `loadcast sample` and kept for the next time."""

from __future__ import annotations

import glob
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bench.processes import measure
from loadcast import __version__, schema

ROOT = Path(__file__).resolve().parents[2]
#: The files of a sample, below its folder.
PATTERN = "*/*/[ab]/[0-6]/request.csv"
_STAMP = "stamp.json"
_BYTES_PER_ROW = 130


@dataclass(frozen=True)
class Arguments:
    """What `loadcast sample` is told."""

    rows: int
    servers: int = 200
    days: int = 30
    dirty: float = 0.005
    start: str = "2016-06-01"
    seed: int = 42

    @property
    def name(self) -> str:
        """A folder's name for them."""
        return "-".join(f"{key}_{value}" for key, value in asdict(self).items())


@dataclass(frozen=True)
class Sample:
    """A tree of session logs: its folder, its files with their bytes together, and what it was made with."""

    folder: Path
    arguments: Arguments
    files: tuple[Path, ...]
    size_bytes: int

    @property
    def pattern(self) -> str:
        """The files as a `dataFile` of the configuration."""
        return f"{glob.escape(str(self.folder))}/{PATTERN}"

    @property
    def period(self) -> tuple[str, str, str]:
        """First and last second of the logs, and where the test period starts: 2 days, or 30 of more than 60."""
        days = self.arguments.days
        begin = datetime.strptime(self.arguments.start, "%Y-%m-%d")
        end = begin + timedelta(days=days)
        split = end - timedelta(days=30 if days > 60 else 2)
        return tuple(time.strftime(schema.TIME_FORMAT) for time in (begin, end - timedelta(seconds=1), split))  # type: ignore[return-value]


def make_sample(parent: Path, arguments: Arguments) -> Sample:
    """The logs in a folder of their own below `parent`; those that the same arguments made are taken as they are.

    Raises SystemExit where the disk has no room for them.
    """
    folder = parent.resolve() / arguments.name
    stamp = folder / _STAMP
    made_by = {"loadcast": __version__, **asdict(arguments)}
    if not stamp.is_file() or json.loads(stamp.read_text(encoding="utf-8")) != made_by:
        shutil.rmtree(folder, ignore_errors=True)
        parent.mkdir(parents=True, exist_ok=True)
        free, wanted = shutil.disk_usage(parent).free, arguments.rows * _BYTES_PER_ROW
        if free < wanted:
            raise SystemExit(f"{parent}: found {free / 1e9:.1f} GB free, wanted {wanted / 1e9:.1f} GB for the logs.")
        print(f"Writing {arguments.rows:,} rows to {folder}", file=sys.stderr, flush=True)
        options = [text for key, value in asdict(arguments).items() for text in (f"--{key}", str(value))]
        measure([sys.executable, "-m", "loadcast", "sample", str(folder), *options], ROOT)
        stamp.write_text(json.dumps(made_by), encoding="utf-8")
    files = tuple(sorted(folder.rglob("request.csv")))
    return Sample(folder, arguments, files, sum(file.stat().st_size for file in files))


def read_through(sample: Sample) -> None:
    """Read the files once, so that the first contender does not pay for the disk where the others do not."""
    for path in sample.files:
        with path.open("rb") as file:
            while file.read(8 << 20):
                pass
