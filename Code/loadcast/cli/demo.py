"""`loadcast demo`: the whole way, from sample logs to 48 hours of forecast, as the commands a user would type."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from loadcast import signals
from loadcast.artefacts.metrics import Metrics
from loadcast.cli.common import friendly
from loadcast.cli.usage import Command
from loadcast.errors import LoadcastError, ServiceError
from loadcast.report.run import closing_lines
from loadcast.settings import DEMO_SERVERS, load_settings

_ROOT = Path(__file__).resolve().parents[3]
_CONFIG = "Config/demo.json"
_DATA = "data/demo"
_START_TIMEOUT_S = 60
#: Seconds for a step to tidy up where the demo is stopped.
_STEP_GRACE_S = 10.0
_ADDRESS = re.compile(r"http://[\w.:\[\]]+")

Step = tuple[str, list[str]]


def steps() -> list[Step]:
    """What is run before the service starts: (what for, command)."""
    return [
        ("Session logs of 20 servers and 30 days", ["loadcast", "sample", _DATA, "--rows", "400000", "--overwrite"]),
        ("ETL of two servers, as one would try things out", ["python", "Code/etl.py", _CONFIG, "FILTER_IP"]),
        ("ETL of all servers", ["python", "Code/etl.py", _CONFIG, "FALSE"]),
        ("Training", ["python", "Code/train.py", _CONFIG]),
    ]


def service_step(output: str) -> Step:
    """The scoring service, on a free port."""
    return "The scoring service", ["python", "Code/webservice.py", "--model", output, "--port", "0"]


def forecast_step(url: str) -> Step:
    """The forecast of the two demo servers."""
    servers = [part for server in DEMO_SERVERS for part in ("--server", server)]
    return "The next 48 hours", ["python", "Code/scoring_webservice.py", _CONFIG, *servers, "--url", url]


@click.command(cls=Command)
@friendly
def demo() -> None:
    """Go the whole way on generated data: logs, ETL, training, service, forecast.

    Writes to data/demo and output/demo.
    """
    begin_s = time.monotonic()
    signals.take_back(_STEP_GRACE_S)
    if not (_ROOT / _CONFIG).is_file():
        raise LoadcastError(f"The demo runs in a clone of the project; found no {_CONFIG} in {_ROOT}.")
    output = load_settings(_ROOT / _CONFIG).output or ""
    for title, command in steps():
        _announce(title, command)
        _check(subprocess.run(_runnable(command), cwd=_ROOT, check=False).returncode, command)
    title, command = service_step(output)
    _announce(title, command)
    with _service(_runnable(command)) as url:
        title, command = forecast_step(url)
        _announce(title, command)
        _check(subprocess.run(_runnable(command), cwd=_ROOT, check=False).returncode, command)
    for line in closing_lines(Metrics.read(_ROOT / output).test, output, time.monotonic() - begin_s):
        click.echo(line)


def _announce(title: str, command: list[str]) -> None:
    click.secho(f"\n{title}\n$ {' '.join(command)}", bold=True, err=True)


def _runnable(command: list[str]) -> list[str]:
    """The command with the interpreter and the package at hand."""
    program = [sys.executable] if command[0] == "python" else [sys.executable, "-m", "loadcast"]
    return [*program, *command[1:]]


def _check(code: int, command: list[str]) -> None:
    if code:
        raise LoadcastError(
            f"The demo stopped: `{' '.join(command)}` ended with exit code {code}. Its message is above."
        )


@contextmanager
def _service(command: list[str]) -> Iterator[str]:
    """Run the service while the block runs; gives its address."""
    environment = {name: value for name, value in os.environ.items() if name != "LOADCAST_SERVICE_KEY"}
    with subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        late = threading.Timer(_START_TIMEOUT_S, process.terminate)  # ends the wait for a service that says nothing
        late.start()
        try:
            address = _address(process.stdout)
            late.cancel()
            yield address
        finally:
            late.cancel()
            process.terminate()


def _address(output: IO[str] | None) -> str:
    """The address that the service says it listens on."""
    for line in output or ():
        match = _ADDRESS.search(line)
        if match:
            return match.group()
    raise ServiceError("The scoring service did not start. Try it alone: python Code/webservice.py --model output/demo")
