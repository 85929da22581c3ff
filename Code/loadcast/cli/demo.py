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
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from subprocess import PIPE
from typing import IO

import click

from loadcast.cli.common import friendly
from loadcast.cli.hints import command_line
from loadcast.cli.usage import Command
from loadcast.errors import LoadcastError, OutputError, ServiceError
from loadcast.extras import require
from loadcast.system import signals

_CLONE = Path(__file__).resolve().parents[3]
_CONFIG = "Config/demo.json"
_DATA = "data/demo"
_START_TIMEOUT_S = 60
#: Seconds for a step to tidy up where the demo is stopped.
_STEP_GRACE_S = 10.0
_ADDRESS = re.compile(r"http://[\w.:\[\]]+")

Step = tuple[str, list[str]]


@dataclass(frozen=True)
class Demo:
    """The commands of the demo, as they are typed in `folder`: scripts in a clone, subcommands elsewhere."""

    folder: Path
    in_clone: bool

    def steps(self) -> list[Step]:
        """What is run before the service starts: (what for, command)."""
        return [
            (
                "Session logs of 20 servers and 30 days",
                ["loadcast", "sample", _DATA, "--rows", "400000", "--overwrite"],
            ),
            ("ETL of two servers, as one would try things out", self._command("etl", _CONFIG, "FILTER_IP")),
            ("ETL of all servers", self._command("etl", _CONFIG, "FALSE")),
            ("Training", self._command("train", _CONFIG)),
        ]

    def service_step(self, output: str) -> Step:
        """The scoring service, on a free port."""
        return "The scoring service", self._command("serve", "--model", output, "--port", "0")

    def forecast_step(self, url: str) -> Step:
        """The forecast of the two demo servers."""
        from loadcast.settings import DEMO_SERVERS

        servers = [part for server in DEMO_SERVERS for part in ("--server", server)]
        return "The next 48 hours", self._command("score", _CONFIG, *servers, "--url", url)

    def report_step(self, output: str) -> Step:
        """The report of what was trained."""
        return "The report", ["loadcast", "report", output]

    def _command(self, name: str, *arguments: str) -> list[str]:
        return [*command_line(name, self.in_clone).split(), *arguments]


@click.command(cls=Command)
@friendly
def demo() -> None:
    """Go the whole way on generated data: logs, ETL, training, service, forecast, report.

    Writes to data/demo and output/demo in the clone of the project. Where loadcast was installed without one, in the
    current folder, with the configuration Config/demo.json.
    """
    from loadcast.artefacts.metrics import Metrics
    from loadcast.report.run import closing_lines
    from loadcast.settings import load_settings

    begin_s = time.monotonic()
    signals.take_back(_STEP_GRACE_S)
    require("spark")  # said at once, and not after the first step
    at = _find_folder()
    output = load_settings(at.folder / _CONFIG).output or ""
    for step in at.steps():
        _run(step, at.folder)
    title, command = at.service_step(output)
    _announce(title, command)
    with _service(_runnable(command), at.folder) as url:
        _run(at.forecast_step(url), at.folder)
    _run(at.report_step(output), at.folder)
    for line in closing_lines(Metrics.read(at.folder / output).test, output, time.monotonic() - begin_s):
        click.echo(line)


def _find_folder() -> Demo:
    """The clone that loadcast runs from, else the current folder, which gets the demo's configuration."""
    if (_CLONE / _CONFIG).is_file() and (_CLONE / "Code" / "etl.py").is_file():
        return Demo(_CLONE, in_clone=True)
    folder = Path.cwd()
    config = folder / _CONFIG
    try:
        if not config.exists():
            config.parent.mkdir(parents=True, exist_ok=True)
            config.write_bytes(files("loadcast.cli").joinpath("demo.json").read_bytes())
    except OSError as error:
        raise OutputError(f"{config}: {error.strerror}. Run the demo in a folder that may be written to.") from error
    return Demo(folder, in_clone=False)


def _run(step: Step, folder: Path) -> None:
    title, command = step
    _announce(title, command)
    code = subprocess.run(_runnable(command), cwd=folder, check=False).returncode
    if code:
        raise LoadcastError(
            f"The demo stopped: `{' '.join(command)}` ended with exit code {code}. Its message is above."
        )


def _announce(title: str, command: list[str]) -> None:
    click.secho(f"\n{title}\n$ {' '.join(command)}", bold=True, err=True)


def _runnable(command: list[str]) -> list[str]:
    """The command with the interpreter and the package at hand."""
    program = [sys.executable] if command[0] == "python" else [sys.executable, "-m", "loadcast"]
    return [*program, *command[1:]]


@contextmanager
def _service(command: list[str], folder: Path) -> Iterator[str]:
    """Run the service while the block runs; gives its address."""
    environment = {name: value for name, value in os.environ.items() if name != "LOADCAST_SERVICE_KEY"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE, text=True) as process:
        passing_on = threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True)
        passing_on.start()
        late = threading.Timer(_START_TIMEOUT_S, process.terminate)  # ends the wait for a service that says nothing
        late.start()
        try:
            address = _address(process.stdout)
            late.cancel()
            yield address
        finally:
            late.cancel()
            process.terminate()
            passing_on.join()  # it ends with the service; then its pipe may be closed


def _pass_on(errors: IO[str] | None) -> None:
    """Show what the service says, but not that it stops: the demo has stopped it."""
    for line in errors or ():
        if "Stopped by SIGTERM" not in line:
            sys.stderr.write(line)


def _address(output: IO[str] | None) -> str:
    """The address that the service says it listens on."""
    for line in output or ():
        match = _ADDRESS.search(line)
        if match:
            return match.group()
    raise ServiceError("The scoring service did not start. Try it alone: loadcast serve --model output/demo")
