"""`loadcast runs`: what is published, going back to the run before, and mending what leads to the runs."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from loadcast import paths
from loadcast.cli.common import friendly
from loadcast.cli.usage import Group
from loadcast.errors import ArtefactError
from loadcast.storage.named import output_of
from loadcast.storage.publish import no_run
from loadcast.storage.runs import PublishedRun


@click.group(cls=Group)
def runs() -> None:
    """Published runs: list them, go back to the one before, or repair what leads to them."""


@runs.command(name="list")
@click.argument("output", type=click.Path())
@friendly
def list_them(output: str) -> None:
    """List the runs that OUTPUT keeps: an output folder, a container's URL, or a configuration.

    \b
    Example:
      loadcast runs list Config/storageconfig.json
    """
    place = output_of(output)
    published, problems = place.runs(), place.problems()
    if published:
        table = Table("run", "begun (UTC)", "model", "", title=f"Runs in {place.shown}")
        for run in published:
            table.add_row(run.name, f"{run.begun:%Y-%m-%d %H:%M:%S}", "yes" if run.has_model else "", _notes(run))
        Console().print(table)
    if problems:
        raise ArtefactError(problems[0])
    if not published:
        raise no_run(place.shown, paths.CURRENT)


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
    place = output_of(output)
    run = place.roll_back()
    click.echo(f"{place.shown} is back at run {run.name}. Services that should use its model must be started anew.")


@runs.command()
@click.argument("output", type=click.Path())
@friendly
def repair(output: str) -> None:
    """Let OUTPUT's pointers lead to whole runs again, where one is missing or damaged.

    Whole is a run with all files of its record in their sizes, and those of its model by their SHA-256. `current` then
    names the newest such run, and `model` the newest with a model. What is in order stays as it is.

    \b
    Example:
      loadcast runs repair Config/storageconfig.json
    """
    place = output_of(output)
    done = place.repair()
    for name, problem in done.flaws.items():
        click.echo(f"The run {name} is damaged: {problem}.")
    if not done.changed:
        click.echo(f"{place.shown} is in order: nothing was changed.")
    if paths.CURRENT in done.changed:
        click.echo(f"{place.shown} is at run {done.current} now.")
    if paths.MODEL in done.changed:
        click.echo(f"Services load the model of run {done.model}." if done.model else "Services find no model now.")


def _notes(run: PublishedRun) -> str:
    said = {"newest": run.is_current, "served": run.is_model, "rolled back": run.withdrawn}
    return ", ".join(word for word, holds in said.items() if holds)
