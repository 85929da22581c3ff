"""Seconds and peak memory of the whole ETL and the whole training on 1 GB: 8 million rows, 200 servers, 30 days."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from processes import Measured, measure

ROOT = Path(__file__).resolve().parents[2]
_SCRIPTS = {"ETL, FILTER_IP": ["etl.py", "FILTER_IP"], "ETL": ["etl.py"], "training": ["train.py"]}


def main() -> None:
    """Make the data, run each command several times, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--master", default="local[2]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loadcast-bench-") as name:
        folder = Path(name)
        _loadcast(["sample", f"{folder}/data", "--rows", f"{options.rows}", "--servers", f"{options.servers}"])
        config = folder / "config.json"
        pattern = f"{folder}/data/*/*/[ab]/[0-6]/request.csv"
        config.write_text(json.dumps({"dataFile": pattern, "duration": "ONE_MONTH", "output": f"{folder}/output"}))
        size = sum(file.stat().st_size for file in (folder / "data").rglob("request.csv"))
        print(f"{options.rows:,} rows, {options.servers} servers, {size / 1e6:,.0f} MB, {options.master}")
        for title, script in _SCRIPTS.items():
            command = [sys.executable, f"Code/{script[0]}", str(config), *script[1:], "--master", options.master]
            _print(title, [measure(command, ROOT) for _ in range(options.runs)], size)
        print(json.dumps(json.loads((folder / "output" / "metrics.json").read_text())["test"]["liftOverBestNaive"]))


def _loadcast(arguments: list[str]) -> None:
    measure([sys.executable, "-m", "loadcast", *arguments], ROOT)


def _print(title: str, runs: list[Measured], size: int) -> None:
    seconds = sorted(run.seconds for run in runs)
    peak = statistics.median(run.peak_bytes for run in runs)
    median = statistics.median(seconds)
    print(
        f"{title:16} median {median:6.1f} s (from {seconds[0]:.1f} to {seconds[-1]:.1f}), "
        f"{size / 1e6 / median:6.1f} MB/s, peak memory {peak / 1e9:.2f} GB",
        flush=True,
    )


if __name__ == "__main__":
    main()
