"""`loadcast runs`: what is published, and going back to the run before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly

if TYPE_CHECKING:
    from loadcast.storage.runs import PublishedRun


@click.group()
def runs() -> None:
    """Published runs: list them, or go back to the one before."""


@runs.command(name="list")
@click.argument("output", type=click.Path())
@friendly
def list_them(output: str) -> None:
    """List the runs that OUTPUT keeps: an output folder, a container's URL, or a configuration.

    \b
    Example:
      loadcast runs list Config/storageconfig.json
    """
    from rich.console import Console
    from rich.table import Table

    from loadcast.cli.places import output_of

    place = output_of(output)
    table = Table("run", "begun (UTC)", "model", "", title=f"Runs in {place.shown}")
    for run in place.runs():
        table.add_row(run.name, f"{run.begun:%Y-%m-%d %H:%M:%S}", "yes" if run.has_model else "", _notes(run))
    Console().print(table)


@runs.command()
@click.argument("output", type=click.Path())
@friendly
def rollback(output: str) -> None:
    """Make the run before the newest one of OUTPUT the newest again.

    Its model, or the last one before it, is what services load from then on. The run left behind is marked, and removed
    when the next one is published.

    \b
    Example:
      loadcast runs rollback Config/storageconfig.json
    """
    from loadcast.cli.places import output_of

    place = output_of(output)
    run = place.roll_back()
    click.echo(f"{place.shown} is back at run {run.name}. Services that should use its model must be started anew.")


def _notes(run: PublishedRun) -> str:
    said = {"newest": run.is_current, "served": run.is_model, "rolled back": run.withdrawn}
    return ", ".join(word for word, holds in said.items() if holds)
