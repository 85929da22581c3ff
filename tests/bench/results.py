"""What a benchmark shows and keeps: a table, and JSON; and the options that all benchmarks share."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.data import ROOT
from bench.harness import Run, Summary

BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_LEAST_WIDTH = 160


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=0, help="lines of the smallest data (default: as described)")
    options.add_argument("--servers", type=int, default=200)
    options.add_argument("--runs", type=int, default=3, help="runs of each contender (default: 3)")
    options.add_argument("--cores", type=int, default=2, help="cores and threads of each contender (default: 2)")
    options.add_argument("--data", type=Path, help="folder to keep the generated data in (default: a temporary one)")
    options.add_argument("--json", type=Path, help="file that all figures go to, under the benchmark's name")
    options.add_argument("--bench-python", type=Path, default=BENCH_PYTHON, help="Python of the other engines")
    return options


def offer_before(options: argparse.ArgumentParser) -> None:
    """The option of those that can run another commit's scripts."""
    options.add_argument("--before", metavar="COMMIT", help="let an earlier commit take turns with this tree")


def parse(options: argparse.ArgumentParser, other_engines: bool = True) -> argparse.Namespace:
    """The command line. Ends with a message where other engines are wanted and their environment is missing."""
    chosen = options.parse_args()
    if other_engines and not chosen.bench_python.exists():
        options.error(f"{chosen.bench_python} is missing: run make bench, or scripts/setup-bench.sh")
    try:
        _kept(chosen.json)
    except (OSError, ValueError) as error:  # told now, not after an hour of measuring
        options.error(f"--json: {chosen.json} cannot be added to: {error}. Name another file.")
    return chosen


@contextmanager
def work_folder(data: Path | None) -> Iterator[tuple[Path, Path]]:
    """A folder for data and a temporary one for everything else."""
    with TemporaryDirectory(prefix="loadcast-bench-") as name:
        folder = Path(name)
        yield data or folder / "data", folder


#: Title and text of each column; one without a text in any row is left out.
_COLUMNS: dict[str, Callable[[Summary], str]] = {
    "seconds (least – most)": lambda row: f"{row.seconds:.1f} ({row.least_seconds:.1f} – {row.most_seconds:.1f})",
    "work, s": lambda row: _text(row.work_seconds, ".1f"),
    "MB/s": lambda row: _text(row.megabytes_per_second, ".0f"),
    "MB/s per core": lambda row: _text(row.megabytes_per_second_and_core, ".0f"),
    "RSS, GB": lambda row: _text(row.resident_gigabytes, ".2f"),
    "PSS, GB": lambda row: _text(row.proportional_gigabytes, ".2f"),
    "÷ ours": lambda row: _text(row.ratio, ".2f"),
    "work ÷ ours": lambda row: _text(row.work_ratio, ".2f"),
    "note": lambda row: row.note,
}


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def results_table(title: str, rows: Sequence[Summary]) -> Table:
    """The summaries as a table."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("")
    columns = {name: [text(row) for row in rows] for name, text in _COLUMNS.items()}
    shown = {name: texts for name, texts in columns.items() if any(texts)}
    for name in shown:
        table.add_column(name, justify="left" if name == "note" else "right")
    for number, row in enumerate(rows):
        table.add_row(*(Text(text) for text in (row.name, *(texts[number] for texts in shown.values()))))
    return table


def show(title: str, rows: Sequence[Summary], lines: Sequence[str] = ()) -> None:
    """Print the table and lines below it."""
    console = Console(highlight=False, width=max(Console().width, _LEAST_WIDTH))
    console.print(results_table(title, rows))
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def save(path: Path | None, name: str, rows: Sequence[Summary], runs: dict[str, list[Run]], **more: Any) -> None:
    """Put all figures into a JSON file under the benchmark's name, where a file is named; other names stay."""
    if path is None:
        return
    content = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **more,
        "results": [asdict(row) for row in rows],
        "runs": {title: [_figures(run) for run in items] for title, items in runs.items()},
    }
    path.write_text(json.dumps({**_kept(path), name: content}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _kept(path: Path | None) -> dict[str, Any]:
    """What the file holds already. Raises OSError or ValueError where it can be no file of ours."""
    if path is None or not path.exists():
        if path is not None and not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent} is no folder")
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    return content


def _figures(run: Run) -> dict[str, Any]:
    figures = asdict(run)
    del figures["output"]
    return {**figures, "said": run.said}


def machine() -> dict[str, Any]:
    """What ran it: processor, cores, memory, Python."""
    try:
        model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        model = None
    return {
        "processor": model.group(1) if model else platform.processor(),
        "cores": os.cpu_count(),
        "memoryGigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
