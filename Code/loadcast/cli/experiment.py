"""`loadcast experiment`: scripts submitted to targets, and their runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loadcast.cli.common import friendly
from loadcast.cli.projects import project_option, run_argument
from loadcast.cli.usage import Group

if TYPE_CHECKING:
    from loadcast.experiments.records import RunRecord
    from loadcast.progress import Progress

_RUNCONFIG = click.option(
    "-c",
    "--run-configuration",
    "runconfig",
    required=True,
    metavar="NAME",
    help="The run configuration: aml_config/NAME.runconfig, or a file's path.",
)
#: Codes of a run that has none of its own.
_CANCELLED, _LOST = 130, 1


@click.group(cls=Group)
def experiment() -> None:
    """Submit scripts to compute targets, follow them, and find their runs again.

    RUN is the id of a run, or as much of its beginning as no other run's has.

    \b
    Examples:
      loadcast experiment prepare -c dockerdsvm
      loadcast experiment submit -c local ./Code/etl.py ./Config/storageconfig.json FILTER_IP
      loadcast experiment submit -a -t myhdi -c myhdi ./Code/train.py ./Config/storageconfig.json
      loadcast experiment list
    """


@experiment.command()
@_RUNCONFIG
@project_option
@friendly
def prepare(runconfig: str, project: Path) -> None:
    """Make the Python environment of a run configuration on its target; nothing is done where it is there."""
    from loadcast.experiments.submission import prepare as make

    made = make(project, runconfig, _write, _steps())
    click.echo("The environment is ready." if made else "The environment was there already.")


@experiment.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_RUNCONFIG
@click.option("-t", "--target", metavar="NAME", help="Another target than the run configuration names.")
@click.option("-a", "--async", "in_background", is_flag=True, help="Do not wait for the end.")
@click.option("--experiment", metavar="NAME", help="What the run belongs to.  [default: the project's folder]")
@project_option
@click.argument("script", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@friendly
def submit(
    runconfig: str,
    target: str | None,
    in_background: bool,
    experiment: str | None,
    project: Path,
    script: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Run SCRIPT with its ARGUMENTS on a compute target.

    The project's files are sent as they are now, and the script runs in a copy of them. Its log is shown as it is
    written; what it puts into outputs/ is brought back. The exit code is the script's. Ctrl-C lets it go on.
    """
    from loadcast.api.experiments import submit_script
    from loadcast.experiments.submission import Submission

    record = submit_script(project, Submission(runconfig, script, arguments, target, experiment), _steps())
    click.echo(f"Run {record.id} runs on {record.target}.", err=True)
    if not in_background:
        _end(_followed(project, record))


@experiment.command()
@run_argument
@project_option
@friendly
def status(run: str, project: Path) -> None:
    """Show how RUN stands, as its target says."""
    from loadcast.experiments.submission import refresh

    record = _found(run, project)
    _print_runs(project, refresh(project, [record]))


@experiment.command()
@run_argument
@click.option("-f", "--follow", "to_the_end", is_flag=True, help="Go on to the end of the run.")
@project_option
@friendly
def logs(run: str, to_the_end: bool, project: Path) -> None:
    """Show what RUN has written."""
    from loadcast.experiments.submission import log_so_far

    record = _found(run, project)
    if to_the_end:
        _end(_followed(project, record))
    else:
        log_so_far(project, record, _write)


@experiment.command()
@run_argument
@project_option
@friendly
def wait(run: str, project: Path) -> None:
    """Wait for the end of RUN, and bring back its results. The exit code is the script's."""
    from loadcast.experiments.submission import follow

    record = _found(run, project)
    ended = follow(project, record, lambda _: None)
    _print_runs(project, [ended])
    _end(ended)


@experiment.command()
@run_argument
@project_option
@friendly
def cancel(run: str, project: Path) -> None:
    """End RUN on its target, with all that it has started; of a pipeline, all steps that run."""
    from loadcast.experiments.pipelines import end_run

    _print_runs(project, [end_run(project, _found(run, project))])


@experiment.command(name="list")
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=1), help="How many runs are listed.")
@project_option
@friendly
def list_them(last: int, project: Path) -> None:
    """List the newest runs as they are now, the newest at the end; ended ones have their results brought back."""
    from loadcast.errors import LoadcastError
    from loadcast.experiments.records import list_records
    from loadcast.experiments.submission import refresh

    listing = list_records(project)
    records, problems = [*listing.records[-last:]], [*listing.problems]
    for target in dict.fromkeys(record.target for record in records):
        some = [record for record in records if record.target == target]
        try:
            fresh = {record.id: record for record in refresh(project, some)}
        except LoadcastError as error:  # one target that is away hides no others
            problems.append(str(error))
        else:
            records = [fresh.get(record.id, record) for record in records]
    if not records:
        click.echo("There are no runs yet. Submit one: loadcast experiment submit -c local SCRIPT")
    else:
        _print_runs(project, records)
    for problem in problems:
        click.echo(f"loadcast: {problem}", err=True)


@experiment.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--here-only", is_flag=True, help="Do not ask the target; what it has of the run stays.")
@project_option
@friendly
def remove(runs: tuple[str, ...], here_only: bool, project: Path) -> None:
    """Remove RUNS that have ended: their records and results here, and their folders on the target.

    A pipeline goes with the runs of its steps. What MLflow was told stays there.
    """
    from loadcast.experiments.removing import remove as remove_run

    for record in [_found(run, project) for run in runs]:
        for removed in remove_run(project, record, here_only):
            click.echo(f"Run {removed.id} is removed.")


@experiment.command()
@click.option("-t", "--target", metavar="NAME", help="Only this target.  [default: all of the project]")
@click.option(
    "--older-than",
    "days",
    default=30,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="DAYS",
    help="What has ended, or was last needed, before so many days.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed.")
@project_option
@friendly
def prune(target: str | None, days: int, dry_run: bool, project: Path) -> None:
    """Remove from targets what nothing of the project needs any more.

    These are folders of ended runs, whose results are here, environments and images that no run configuration needs,
    and contents of files. Other projects' things stay, and so does what a run uses that goes on.
    """
    from loadcast.cli.history_tables import console, unneeded_table
    from loadcast.errors import LoadcastError
    from loadcast.experiments.compute import list_compute
    from loadcast.experiments.removing import prune as prune_target

    targets = [target] if target else [listed.name for listed in list_compute(project) if listed.target]
    rows, problems = [], []
    for name in targets:
        try:
            rows += [(name, item) for item in prune_target(project, name, days, dry_run)]
        except LoadcastError as error:  # one target that is away keeps no other from being pruned
            click.echo(f"loadcast: {error}", err=True)
            problems.append(error)
    if rows:
        console().print(unneeded_table(rows))
    total = sum(item.size_bytes for _, item in rows)
    click.echo(f"{total / 1e6:,.1f} MB {'would be' if dry_run else 'were'} removed.")
    if problems:
        raise SystemExit(problems[0].exit_code)


def _found(run: str, project: Path) -> RunRecord:
    from loadcast.experiments.records import find_record

    return find_record(project, run)


def _followed(project: Path, record: RunRecord) -> RunRecord:
    from loadcast.experiments.submission import follow
    from loadcast.system.signals import Interrupted

    try:
        return follow(project, record, _write)
    except Interrupted:
        click.echo(f"\nRun {record.id} goes on. To see it: loadcast experiment logs --follow {record.id}")
        raise


def _end(record: RunRecord) -> None:
    """End as the run has ended."""
    if record.state != "completed":
        code = record.exit_code or (_CANCELLED if record.state == "cancelled" else _LOST)
        click.echo(
            f"Run {record.id} {'was ' if record.state in ('cancelled', 'lost') else ''}{record.state}.", err=True
        )
        raise SystemExit(code)


def _print_runs(project: Path, records: list[RunRecord]) -> None:
    from loadcast.cli.history_tables import console, runs_table
    from loadcast.experiments.comparison import run_view

    console().print(runs_table([run_view(project, record) for record in records], ()))


def _write(block: bytes) -> None:
    sys.stdout.buffer.write(block)
    sys.stdout.flush()


def _steps() -> Progress:
    from loadcast.report.run import RichProgress

    return RichProgress()
