"""`loadcast history`: the runs of experiments, what they were given, what they told, and their code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option, run_argument
from loadcast.cli.usage import Group
from loadcast.errors import ArtefactError

if TYPE_CHECKING:
    from loadcast.experiments.comparison import RunView
    from loadcast.experiments.records import RunRecord

_EXPERIMENT = click.option("--experiment", help="Only runs of this experiment.")


@click.group(cls=Group)
def history() -> None:
    """Look back at submitted runs: list, show and compare them, see their metrics, get their code back.

    RUN is the id of a run, or as much of its beginning as no other run's has.
    """


@history.command(name="list")
@project_option
@_EXPERIMENT
@click.option("--metric", "metrics", multiple=True, help="A column with the last number of this metric; repeatable.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=1), help="How many runs are listed.")
@friendly
def list_them(project: Path, experiment: str | None, metrics: tuple[str, ...], last: int) -> None:
    """List the newest runs, the newest at the end.

    \b
    Example:
      loadcast history list --metric test/model/macroF1
    """
    from loadcast.cli.history_tables import console, runs_table

    records = _records(project, experiment)
    if not records:
        click.echo("There are no runs yet. Submit one: loadcast experiment submit -c local SCRIPT")
        return
    console().print(runs_table(_views(records[-last:], project), metrics))
    if len(records) > last:
        click.echo(f"The newest {last:,} of {len(records):,} runs; --last {len(records)} lists all.")


@history.command()
@run_argument
@project_option
@friendly
def show(run: str, project: Path) -> None:
    """Show all that is known of RUN.

    \b
    Example:
      loadcast history show 20261130T02
    """
    from loadcast.cli.history_tables import console, run_tables

    (seen,) = _named([run], project)
    for table in run_tables(seen):
        console().print(table)


@history.command()
@click.argument("runs", nargs=-1, required=True)
@project_option
@click.option("--all", "keep_equal", is_flag=True, help="Show what is equal, too, and all metrics.")
@click.option("--metric", "metrics", multiple=True, help="Only metrics whose names begin so; repeatable.")
@friendly
def compare(runs: tuple[str, ...], project: Path, keep_equal: bool, metrics: tuple[str, ...]) -> None:
    """Show what differs between two or more RUNS: parameters, code, and metrics.

    \b
    Examples:
      loadcast history compare 20261130T0219 20261130T0319
      loadcast history compare 20261130T0219 20261130T0319 --metric test/model
    """
    from loadcast.cli.comparison_tables import comparison
    from loadcast.cli.history_tables import console

    if len(runs) < 2:
        raise click.UsageError("Wanted two runs or more to compare.")
    comparison(project, _named(runs, project), keep_equal, metrics, console())


@history.command()
@click.argument("name")
@project_option
@_EXPERIMENT
@friendly
def metrics(name: str, project: Path, experiment: str | None) -> None:
    """Show the metric NAME of all runs that have it.

    \b
    Example:
      loadcast history metrics test/model/macroF1
    """
    from loadcast.cli.history_tables import console, metric_table
    from loadcast.experiments.comparison import series_of

    console().print(metric_table(name, series_of(_views(_records(project, experiment), project), name)))


@history.command()
@run_argument
@click.option("--diff", "other", metavar="RUN", help="Show what differs from this run's code, line by line.")
@project_option
@friendly
def code(run: str, other: str | None, project: Path) -> None:
    """List the files that RUN ran with, or with --diff what changed in them since another run.

    \b
    Example:
      loadcast history code 20261130T0319 --diff 20261130T0219
    """
    from loadcast.experiments.records import find_record
    from loadcast.experiments.snapshot_files import snapshot_files, unified_diff
    from loadcast.printable import printable

    files = snapshot_files(project, find_record(project, run).id)
    if other is None:
        lines = (f"{file.sha256[:12]} {file.size:>12,} {printable(path)}" for path, file in files.items())
    else:
        before = snapshot_files(project, find_record(project, other).id)
        lines = unified_diff(project, before, files)  # type: ignore[assignment]
    for line in lines:
        click.echo(line)


@history.command()
@run_argument
@click.argument("destination", type=click.Path(path_type=Path))
@project_option
@friendly
def restore(run: str, destination: Path, project: Path) -> None:
    """Write the code that RUN ran with into DESTINATION, a new or empty folder.

    \b
    Example:
      loadcast history restore 20261130T0219 ../as-it-was
    """
    from loadcast.experiments.records import find_record
    from loadcast.experiments.snapshot_files import restore as restore_files
    from loadcast.experiments.snapshot_files import snapshot_files
    from loadcast.secrets import shown

    record = find_record(project, run)
    files = snapshot_files(project, record.id)
    restore_files(project, files, destination)
    click.echo(f"{shown(destination)} has the {len(files):,} files of {record.id}.")


@history.command()
@project_option
@friendly
def sync(project: Path) -> None:
    """Tell MLflow of all runs: the project's database, or the server that MLFLOW_TRACKING_URI names."""
    from loadcast.experiments.history import sync as tell_all

    click.echo(f"MLflow was told of {tell_all(project):,} new or changed runs.")


@history.command()
@project_option
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
@friendly
def ui(project: Path, port: int) -> None:
    """Open MLflow's pages over the history, on this machine alone, until Ctrl-C."""
    import os

    from loadcast.experiments.history import sync as tell_all
    from loadcast.experiments.history_pages import pages_plan
    from loadcast.experiments.locations import STATE_FOLDER

    plan = pages_plan(project, port)
    tell_all(project)
    click.echo(f"The history will be at {plan.address} in some seconds. Ctrl-C ends it.")
    os.chdir(project / STATE_FOLDER)  # where MLflow leaves files of its own
    os.execve(plan.argv[0], plan.argv, plan.environment)


def _records(project: Path, experiment: str | None) -> list[RunRecord]:
    """All runs, or those of an experiment; problems of some are told and hide no others."""
    from loadcast.experiments.records import list_records

    listing = list_records(project)
    for problem in listing.problems:
        click.echo(f"loadcast: {problem}", err=True)
    if listing.problems and not listing.records:
        raise ArtefactError("None of the runs can be read.")
    return [record for record in listing.records if experiment in (None, record.experiment)]


def _views(records: Sequence[RunRecord], project: Path) -> list[RunView]:
    from loadcast.experiments.comparison import run_view

    return [run_view(project, record) for record in records]


def _named(runs: Sequence[str], project: Path) -> list[RunView]:
    """The runs whose ids begin so."""
    from loadcast.experiments.records import find_record

    return _views([find_record(project, run) for run in runs], project)
