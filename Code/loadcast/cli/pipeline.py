"""`loadcast pipeline`: steps that are submitted one after the other, and side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option, run_argument
from loadcast.cli.usage import Group

if TYPE_CHECKING:
    from loadcast.experiments.records import RunRecord


@click.group(cls=Group)
def pipeline() -> None:
    """Submit scripts that build on each other, as steps of one pipeline.

    \b
    Examples:
      loadcast pipeline submit monthly.yml
      loadcast pipeline resume 20261130T02
    """


@pipeline.command()
@project_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@friendly
def submit(project: Path, file: Path) -> None:
    """Run the steps of FILE, each as soon as those before it have completed.

    A step that was asked the same before is not run again, unless it says allow_reuse: false. One that fails holds up
    the steps after it alone. Ctrl-C ends this command; steps that run go on.
    """
    from loadcast.api.experiments import submit_script
    from loadcast.experiments.pipelines import run_pipeline

    _end(lambda: run_pipeline(project, file, submit_script, _Lines()))


@pipeline.command()
@run_argument
@project_option
@friendly
def resume(run: str, project: Path) -> None:
    """Run the steps of a pipeline's RUN that have not completed, with the project's files as they are now.

    Steps that still run are followed.
    """
    from loadcast.api.experiments import submit_script
    from loadcast.experiments.pipelines import resume_pipeline
    from loadcast.experiments.records import find_record

    record = find_record(project, run)
    _end(lambda: resume_pipeline(project, record, submit_script, _Lines()))


class _Lines:
    """Whole lines of all steps, each with its step's name before it."""

    def __init__(self) -> None:
        self._rests: dict[str, bytes] = {}
        self._lock = Lock()

    def event(self, step: str, text: str) -> None:
        """What has happened goes to standard error, after what the script wrote last."""
        with self._lock:
            rest = self._rests.pop(step, b"")
            if rest:
                self._print(step, rest)
            click.echo(f"[{step}] {text}", err=True)

    def log(self, step: str, block: bytes) -> None:
        """What a script writes goes to standard output, line by line."""
        with self._lock:
            *lines, rest = (self._rests.pop(step, b"") + block).split(b"\n")
            self._rests[step] = rest
            for line in lines:
                self._print(step, line)

    def _print(self, step: str, line: bytes) -> None:
        click.echo(f"[{step}] ".encode() + line)


def _end(run: Callable[[], RunRecord]) -> None:
    """Run a pipeline, and end as it ends."""
    from loadcast.system.signals import Interrupted

    try:
        record = run()
    except Interrupted:
        # Standard error is silent by now.
        click.echo("\nSteps that run go on. To go on with the others: loadcast pipeline resume RUN")
        raise
    click.echo(f"Pipeline {record.id} {record.state}.{f' {record.note}' if record.note else ''}", err=True)
    if record.state != "completed":
        raise SystemExit(1)
