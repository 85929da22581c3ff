"""The scoring service beside the one of an earlier commit: in process, over HTTP, and under 1,000 slow connections.

wrk asks with kept connections and shares the cores with the service. A bare echo behind the same front says what the
front alone costs. Contenders take turns; the table has medians.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import requests
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.data import ROOT
from bench.harness import last_json
from bench.results import offer_before, parse, parser, save, work_folder
from bench.runs import trees
from bench.slow_clients import slow_connections

_OURS, _ECHO = "ours", "bare echo, same front"
HOURS = 48
_WORKERS = 2
_SECONDS = 5
_SLOW = 1_000
_READY_S = 60.0
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
Figures = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """A service: its command, to which a port is added, and its tree (None: it has no core)."""

    name: str
    command: Sequence[str]
    root: Path | None


def main() -> None:
    """Let the services take turns, print the table."""
    options = parser(__doc__)
    offer_before(options)
    options.add_argument("--model", type=Path, default=ROOT / "Model", help="bundle to serve (default: Model)")
    chosen = parse(options, other_engines=False)
    with work_folder(None) as (_, scratch):
        body = scratch / "body.json"
        body.write_text(json.dumps(batch(example())))
        (scratch / "post.lua").write_text(LUA.format(body=body))
        contenders = [service(suffix, root, chosen.model) for suffix, root in trees(chosen.before, scratch)]
        echo = [sys.executable, "-m", "bench.contender_echo"]
        contenders.append(Contender(_ECHO, echo, None))
        rounds: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
        for number in range(1, chosen.runs + 1):
            for contender in contenders:
                print(f"Round {number} of {chosen.runs}: {contender.name}", file=sys.stderr, flush=True)
                rounds[contender.name].append(_measure(contender, scratch, chosen.model))
    middle = {name: _medians(items) for name, items in rounds.items()}
    _show(middle, chosen.runs)
    save(chosen.json, "serve", [], {}, figures=middle)


def example() -> dict[str, Any]:
    """The record that Docs/API.md shows."""
    found = re.search(r"```json\n(\[.*?\])\n```", (ROOT / "Docs" / "API.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    record: dict[str, Any] = json.loads(found.group(1))[0]
    return record


def batch(record: dict[str, Any], n: int = HOURS) -> list[dict[str, Any]]:
    """The record, for so many hours."""
    return [
        {
            **record,
            "hourofday": hour % 24,
            "SessionStartHourTime": f"2016-06-{5 + hour // 24:02d} {hour % 24:02d}:00:00",
        }
        for hour in range(n)
    ]


def service(suffix: str, root: Path, model: Path) -> Contender:
    command = [sys.executable, str(root / "Code" / "webservice.py"), "--model", str(model), "--workers", str(_WORKERS)]
    return Contender(_OURS + suffix, [*command, "--port"], root)


def _measure(contender: Contender, scratch: Path, model: Path) -> Figures:
    figures: Figures = {}
    if contender.root is not None:
        figures["core, µs"] = _core(contender.root, scratch, model)
    with running(contender) as (port, ready_s, process):
        url = f"http://127.0.0.1:{port}/score"
        if contender.root is not None:
            figures["ready, s"] = ready_s
        _wrk(scratch, url, 4, 1)
        for connections in (1, 4):
            for name, value in _wrk(scratch, url, connections, _SECONDS).items():
                figures[f"{name}, c={connections}"] = value
        figures["private, MB a worker"] = max(private_megabytes(pid) for pid in children(process.pid))
        if contender.root not in (ROOT, None):
            return figures  # it answers nobody while there are slow connections
        quiet = _health_p99(port)
        with slow_connections(port, _SLOW) as n_open:
            figures["slow connections"] = n_open
            figures["health p99 ÷ quiet"] = _health_p99(port) / quiet
            figures["p99 ÷ quiet, c=4"] = _wrk(scratch, url, 4, _SECONDS)["p99, ms"] / figures["p99, ms, c=4"]
    return figures


def _core(root: Path, scratch: Path, model: Path) -> float:
    command = [
        sys.executable,
        str(ROOT / "tests" / "bench" / "contender_core.py"),
        str(model),
        str(scratch / "body.json"),
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment(root)).stdout
    return float(last_json(said)["microseconds"])


def _environment(root: Path) -> dict[str, str]:
    own = [str(ROOT / "tests")] if root == ROOT else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "Code"), *own])}


@contextmanager
def running(contender: Contender) -> Iterator[tuple[int, float, subprocess.Popen[bytes]]]:
    """The service's port, the seconds until it was ready, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*contender.command, str(port), *([] if contender.root else [str(_WORKERS)])]
    begin_s = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=_environment(contender.root or ROOT), **quiet) as process:  # type: ignore[call-overload]
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() - begin_s > _READY_S:
                    raise SystemExit(f"{contender.name} does not serve")
                time.sleep(0.01)
            yield port, time.monotonic() - begin_s, process
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == requests.codes.ok
    except requests.RequestException:
        return False


def _wrk(scratch: Path, url: str, connections: int, seconds: int) -> Figures:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(scratch / "post.lua"), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"Not every request was answered:\n{said}")
    figures = {"requests/s": float(_first(r"Requests/sec:\s+([0-9.]+)", said)[0])}
    for share in (50, 99):
        number, unit = _first(rf"{share}%\s+([0-9.]+)(us|ms|s)", said)
        figures[f"p{share}, ms"] = float(number) * _MILLISECONDS[unit]
    return figures


def _first(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said something else:\n{text}")
    return match.groups()


def _health_p99(port: int) -> float:
    """Milliseconds of 400 probes, each with a connection of its own."""
    took = []
    for _ in range(400):
        begin_s = time.perf_counter()
        requests.get(f"http://127.0.0.1:{port}/health/live", timeout=30)
        took.append(time.perf_counter() - begin_s)
    return sorted(took)[int(0.99 * len(took))] * 1e3


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def private_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


def _medians(rounds: list[Figures]) -> Figures:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}


def _show(middle: dict[str, Figures], runs: int) -> None:
    table = Table(title=f"{HOURS} records a request, {_WORKERS} workers; medians of {runs}", box=SIMPLE_HEAD)
    table.add_column("")
    for name in middle:
        table.add_column(name, justify="right")
    for row in middle[_OURS]:
        table.add_row(row, *(f"{figures[row]:,.2f}" if row in figures else "" for figures in middle.values()))
    Console(highlight=False, width=max(Console().width, 120)).print(table)
    before = next((figures for name, figures in middle.items() if name.startswith(f"{_OURS} at")), None)
    if before is not None:
        for row in ("core, µs", "requests/s, c=4", "p50, ms, c=1"):
            print(f"{row}: ours ÷ before = {middle[_OURS][row] / before[row]:.2f}")


if __name__ == "__main__":
    main()
