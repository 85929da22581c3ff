"""The types of targets that there are: ours, and those of other packages."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.experiments.cluster import Cluster
from loadcast.experiments.compute import SERVICES, ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.containers import LocalDocker, RemoteDocker
from loadcast.experiments.locations import STATE_FOLDER
from loadcast.experiments.machines import ThisMachine
from loadcast.experiments.plan import RUN_ID, Plan, Word
from loadcast.experiments.remote_agent import Agent
from loadcast.experiments.runner import Recipe, Runner
from loadcast.experiments.services.databricks import Databricks
from loadcast.experiments.target_types import (
    HOME_BASE,
    Job,
    TargetType,
    plain_plan,
    plain_recipe,
    program_of,
    spark_words,
    ssh_machine,
)

#: The group of entry points; each is named as its type and leads to a TargetType.
ENTRY_POINTS = "loadcast.targets"


class Local:
    """This machine: the agent's folder lies in the project."""

    name = "local"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The agent, by the user's interpreter or the one that runs loadcast."""
        return _agent_here(project, target.python_location or sys.executable)

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """In a folder of the agent's."""
        return plain_recipe(environment)

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """The user's interpreter, that of the environment, or the one that runs loadcast."""
        return plain_plan(target, job, sys.executable)


class Remote:
    """A machine by SSH, without containers."""

    name = "remote"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The agent in the user's home folder there, by the user's interpreter or python3."""
        return Agent(ssh_machine(target, name), HOME_BASE, target.python_location or "python3")

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """In a folder of the agent's."""
        return plain_recipe(environment)

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """The user's interpreter, that of the environment, or python3."""
        return plain_plan(target, job, "python3")


class SparkMaster(Local):
    """A Spark master that this machine reaches; the driver runs here."""

    name = "spark"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The agent, by the interpreter that runs loadcast: that of the target is the executors'."""
        return _agent_here(project, sys.executable)

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """`spark-submit` of the environment, or beside the interpreter that runs loadcast."""
        submit = program_of(job, "spark-submit", str(Path(sys.executable).with_name("spark-submit")))
        driver = program_of(job, "python", sys.executable)
        words: tuple[Word, ...] = (
            *(target.spark_submit_location or submit, "--master", target.master or ""),
            *("--name", ("loadcast-", RUN_ID), *spark_words(job.spark)),
        )
        variables = {
            **job.variables,
            "PYSPARK_DRIVER_PYTHON": driver,
            "PYSPARK_PYTHON": target.python_location or driver,
        }
        return Plan((*words, *job.words), variables)


def _agent_here(project: Path, python: str) -> Agent:
    """The agent on this machine, its folder in the project."""
    return Agent(ThisMachine(), str((project / STATE_FOLDER / "target").absolute()), python)


_OWN: tuple[TargetType, ...] = (
    *(Local(), Remote(), LocalDocker(), RemoteDocker(), Cluster(), SparkMaster()),
    Databricks(),
)


def type_of(target: ComputeTarget) -> TargetType:
    """The type of a target. Raises ConfigError for one that nobody has brought."""
    for known in _OWN:
        if known.name == target.type:
            return known
    if target.is_service:
        return _managed(target.type)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == target.type:
            loaded: TargetType = point.load()
            return loaded
    names = ", ".join(_names())
    raise ConfigError(f"Targets of type {target.type} cannot be submitted to yet, wanted one of {names}.")


def _managed(kind: str) -> TargetType:
    """A service of Azure; imported here, as its client takes its time."""
    if kind == "synapse":
        from loadcast.experiments.services.synapse import Synapse

        return Synapse()
    from loadcast.experiments.services.amlcompute import AmlCompute

    return AmlCompute()


def _names() -> Iterable[str]:
    return sorted(
        {*(known.name for known in _OWN), *SERVICES, *(point.name for point in entry_points(group=ENTRY_POINTS))}
    )
