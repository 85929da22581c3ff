"""The types of targets: where each one's machine is, and what is run there for a script."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.locations import STATE_FOLDER
from loadcast.experiments.machines import Machine, SshMachine, ThisMachine
from loadcast.experiments.plan import Plan, Word, at
from loadcast.references import read_reference

#: The group of entry points; each is named as its type and leads to a TargetType.
ENTRY_POINTS = "loadcast.targets"
SHARED_VARIABLE = "AZUREML_NATIVE_SHARE_DIRECTORY"


@dataclass(frozen=True)
class Job:
    """A script as it was submitted: the words after the interpreter, its variables, and its environment's hash.

    `environment` None: it runs with an interpreter that is there already. `spark` are Spark's settings by name.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str]
    environment: str | None = None
    spark: Mapping[str, str] = field(default_factory=dict)


class TargetType(Protocol):
    """One type of target. `name` is as in the compute file."""

    name: str

    def machine(self, target: ComputeTarget, name: str, project: Path) -> Machine:
        """The machine whose agent is asked."""

    def base(self, target: ComputeTarget, project: Path) -> str:
        """The agent's folder there."""

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """What the agent runs for a script; pure."""


class Local:
    """This machine: the agent's folder lies in the project."""

    name = "local"

    def machine(self, target: ComputeTarget, name: str, project: Path) -> Machine:
        """This machine."""
        return ThisMachine()

    def base(self, target: ComputeTarget, project: Path) -> str:
        """Below the project's own folder."""
        return str((project / STATE_FOLDER / "target").absolute())

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """The user's interpreter, that of the environment, or the one that runs loadcast."""
        return _plain(target, job, sys.executable)


class Remote:
    """A machine by SSH, without containers."""

    name = "remote"

    def machine(self, target: ComputeTarget, name: str, project: Path) -> Machine:
        """The machine at the target's address."""
        return ssh_machine(target, name)

    def base(self, target: ComputeTarget, project: Path) -> str:
        """In the user's home folder there."""
        return "~/.loadcast"

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """The user's interpreter, that of the environment, or python3."""
        return _plain(target, job, "python3")


_OWN: tuple[TargetType, ...] = (Local(), Remote())


def type_of(target: ComputeTarget) -> TargetType:
    """The type of a target. Raises ConfigError for one that nobody has brought."""
    for known in _OWN:
        if known.name == target.type:
            return known
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == target.type:
            loaded: TargetType = point.load()
            return loaded
    names = ", ".join(_names())
    raise ConfigError(f"Targets of type {target.type} cannot be submitted to yet, wanted one of {names}.")


def ssh_machine(target: ComputeTarget, name: str) -> SshMachine:
    """The machine of a target that is reached by SSH. Raises ConfigError where its host key is not pinned."""
    if target.host_key is None or target.address is None or target.username is None:
        raise ConfigError(
            f"Target {name} has no hostKey: whom it reaches is not known. "
            f"Run loadcast computetarget test {name}, which asks for it and pins it."
        )
    password = read_reference(target.password, "password") if target.password else None
    return SshMachine(
        address=target.address,
        user=target.username,
        host_key=target.host_key,
        port=target.ssh_port,
        key_file=Path(target.private_key_file).expanduser() if target.private_key_file else None,
        password=password,
    )


def _plain(target: ComputeTarget, job: Job, default: str) -> Plan:
    """A command line without a container or a cluster."""
    made: Word | None = (at(f"environments/{job.environment}/bin/python"),) if job.environment else None
    interpreter: Word = target.python_location or made or default
    variables: dict[str, Word] = dict(job.variables)
    if job.spark:
        settings = [word for name, value in job.spark.items() for word in ("--conf", f"{name}={value}")]
        variables["PYSPARK_SUBMIT_ARGS"] = shlex.join([*settings, "pyspark-shell"])
    if target.native_shared_directory:
        variables[SHARED_VARIABLE] = target.native_shared_directory
    return Plan((interpreter, *job.words), variables)


def _names() -> Iterable[str]:
    return sorted({*(known.name for known in _OWN), *(point.name for point in entry_points(group=ENTRY_POINTS))})
