"""`loadcast quality`: what became of the input's rows, as a page."""

from __future__ import annotations

import os
from pathlib import Path

import click

from loadcast import paths
from loadcast.artefacts.quality import Quality
from loadcast.cli.common import friendly
from loadcast.cli.usage import Command
from loadcast.errors import ArtefactError
from loadcast.report.quality import page_console, show_quality
from loadcast.secrets import shown
from loadcast.storage.named import folder_of
from loadcast.storage.publish import open_run

_NUMBER = click.IntRange(min=0)


@click.command(cls=Command)
@click.argument("output", type=click.Path())
@click.option("--files", default=20, show_default=True, type=_NUMBER, help="Files that are listed, the worst first.")
@click.option("--servers", default=20, show_default=True, type=_NUMBER, help="Servers that are listed.")
@click.option("--json", "as_json", is_flag=True, help="Print quality.json itself.")
@friendly
def quality(output: str, files: int, servers: int, as_json: bool) -> None:
    """Show what became of the input's rows: rejected, repaired, files that stand out, hours without data.

    OUTPUT is an output folder, a run's folder, a container's URL, or the configuration whose output it is.

    \b
    Examples:
      loadcast quality output/demo
      loadcast quality Config/demo.json --files 100
      loadcast quality output/demo --json | jq .rejectedByReason
    """
    run = _find_run(output)
    report = Quality.read(run)
    if as_json:
        click.echo(report.encoded(), nl=False)
    else:
        show_quality(report, shown(output), page_console(), (files, servers))


def _find_run(output: str) -> Path:
    """The run that a command line's OUTPUT stands for. Raises ArtefactError or ConfigError."""
    place = folder_of(output, paths.CURRENT, [paths.QUALITY])
    if not os.path.exists(place):
        raise ArtefactError(f"{place}: there is no such folder. Wanted an output folder, or a configuration file.")
    is_run = os.path.exists(place / paths.QUALITY) and not os.path.exists(place / paths.CURRENT)
    return place if is_run else open_run(place)
