"""Removing runs, and what targets keep that nothing of the project needs."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from loadcast.errors import ConfigError, OutputError
from loadcast.experiments.agent.state import LOST, is_locked
from loadcast.experiments.compute import list_compute
from loadcast.experiments.conda import read_conda
from loadcast.experiments.locations import run_folder
from loadcast.experiments.pipelines import steps_of
from loadcast.experiments.records import RunRecord, list_records
from loadcast.experiments.remote_agent import Agent
from loadcast.experiments.runconfig import list_runconfigs
from loadcast.experiments.submission import refresh, runner_of
from loadcast.experiments.targets import type_of


@dataclass(frozen=True)
class Unneeded:
    """Something on a target: a `run`, an `environment`, an `image`, or contents of `files`."""

    kind: str
    name: str
    size_bytes: int


def remove(project: Path, record: RunRecord, here_only: bool = False) -> list[RunRecord]:
    """Remove a run, a pipeline with the runs of its steps: record and results here, and what its target has of it.

    Returns the records that were removed. Raises ConfigError for a run that goes on, and a LoadcastError where the
    target cannot be asked, which `here_only` does not.
    """
    steps = steps_of(project, record) if record.steps else []
    records = [*steps, record] if here_only else refresh(project, [*steps, record])
    for known in records:
        _check_has_ended(project, known)
    for known in records:
        if not here_only and not known.steps:
            _remove_there(project, known)
        _remove_here(project, known)
    return records


def prune(project: Path, target: str, days: float, dry_run: bool = False) -> list[Unneeded]:
    """What a target keeps that nothing of this project needs, removed unless `dry_run`; other projects' things stay.

    These are runs that have ended at least so many days ago and whose results are here, and what nobody has asked for
    in that time: environments that no run configuration needs any more, and contents of files that no run there has.
    Raises a LoadcastError where the target cannot be asked.
    """
    runner = runner_of(project, target)
    if not isinstance(runner, Agent):
        return []  # a service that keeps its own order
    # Targets of one machine share the agent's folder: what is of another one stays, unless its results are here.
    everything = [record for record in list_records(project).records if not record.steps]
    asked_now = {record.id: record for record in refresh(project, [it for it in everything if it.target == target])}
    records = [asked_now.get(record.id, record) for record in everything]
    asked = {
        "known": [record.id for record in records if record.is_final],
        "keep": [record.id for record in records if not record.is_final],
        "environments": _needed(project),
        "days": days,
        "dryRun": dry_run,
    }
    return [Unneeded(item["kind"], item["name"], item["bytes"]) for item in runner.prune(asked)]


def _check_has_ended(project: Path, record: RunRecord) -> None:
    goes_on = is_locked(str(run_folder(project, record.id))) if record.steps else record.state != LOST
    if goes_on and not record.is_final:
        raise ConfigError(f"Run {record.id} is {record.state}. End it first: loadcast experiment cancel {record.id}")


def _remove_there(project: Path, record: RunRecord) -> None:
    runner = runner_of(project, record.target)
    if isinstance(runner, Agent):
        if record.state == LOST:  # it may have left a container or an application
            runner.cancel(record.id)
        runner.remove(record.id)


def _remove_here(project: Path, record: RunRecord) -> None:
    folder = run_folder(project, record.id)
    going = folder.with_name(f".removing-{folder.name}")
    try:
        os.rename(folder, going)
        shutil.rmtree(going)
    except OSError as error:
        raise OutputError(f"Cannot remove {folder}: {error.strerror or error}.") from error


def _needed(project: Path) -> list[str]:
    """The environments that run configurations of the project may have on any target."""
    files = {config.conda_file(project) for config in list_runconfigs(project).values()}
    environments = [read_conda(file) for file in sorted(filter(None, files))]
    targets = [listed.target for listed in list_compute(project) if listed.target and not listed.target.is_service]
    return sorted({type_of(target).recipe(target, made).name for target in targets for made in environments})
