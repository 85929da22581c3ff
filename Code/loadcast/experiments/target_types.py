"""What a type of target is, and what several of them share."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.machines import SshMachine
from loadcast.experiments.plan import Plan, Word, at
from loadcast.experiments.runner import Recipe, Runner
from loadcast.references import read_reference

SHARED_VARIABLE = "AZUREML_NATIVE_SHARE_DIRECTORY"
#: The agent's folder on a machine that runs of several projects share.
HOME_BASE = "~/.loadcast"


@dataclass(frozen=True)
class Job:
    """A script as it was submitted: the words after the interpreter, its variables, and its environment's name.

    `environment` None: it runs with an interpreter that is there already. `spark` are Spark's settings by name,
    `secrets` the names of variables whose values the agent is told as it starts the run, and which stand in no file.
    `vault_secrets` are variables that the target reads for itself, and their names in its Key Vault.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str]
    environment: str | None = None
    spark: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    vault_secrets: Mapping[str, str] = field(default_factory=dict)


class Planned(Protocol):
    """What a target is asked to do for a script, as the request that its runner is given."""

    def request(self, entries: Sequence[tuple[str, str, bool]]) -> dict[str, Any]:
        """JSON, with the files [path, sha256, executable] of the script's working directory as `entries`."""


class TargetType(Protocol):
    """One type of target. `name` is as in the compute file."""

    name: str

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """Who runs scripts there. Raises ConfigError where the target cannot be used as it is."""

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """How an environment is made there; pure."""

    def plan(self, target: ComputeTarget, job: Job) -> Planned:
        """What is asked of the runner for a script; pure."""


def plain_recipe(environment: Environment) -> Recipe:
    """An environment in a folder of the agent's."""
    return Recipe(environment.content_hash(), asdict(environment))


def name_of(environment: Environment, how: str) -> str:
    """The name of an environment that is made in another way than a plain one, such as on top of an image."""
    return hashlib.sha256(f"{how}\n{environment.content_hash()}".encode()).hexdigest()


def plain_plan(target: ComputeTarget, job: Job, default: str) -> Plan:
    """A command line without a container or a cluster."""
    interpreter = target.python_location or program_of(job, "python", default)
    return Plan((interpreter, *job.words), variables_of(target, job))


def program_of(job: Job, name: str, default: str) -> Word:
    """A program of the job's environment in its folder of the agent's; `default` where it has none."""
    return (at(f"environments/{job.environment}/bin/{name}"),) if job.environment else default


def variables_of(target: ComputeTarget, job: Job) -> dict[str, Word]:
    """The script's variables: its own, Spark's settings as pyspark takes them, and the folder that runs share."""
    variables: dict[str, Word] = dict(job.variables)
    variables.update(spark_variables(job.spark))
    if target.native_shared_directory:
        variables[SHARED_VARIABLE] = (at(target.native_shared_directory),)
    return variables


def spark_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Spark's settings as pyspark takes them of a variable."""
    return {"PYSPARK_SUBMIT_ARGS": shlex.join([*spark_words(settings), "pyspark-shell"])} if settings else {}


def spark_words(settings: Mapping[str, str]) -> list[str]:
    """Spark's settings as words of a command line."""
    return [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]


def ssh_machine(target: ComputeTarget, name: str) -> SshMachine:
    """The machine of a target that is reached by SSH. Raises ConfigError where its host key is not pinned."""
    if target.host_key is None or target.address is None or target.username is None:
        raise ConfigError(
            f"Target {name} has no hostKey: whom it reaches is not known. "
            f"Detach and attach it again, which asks for it, or write it into {name}.compute as ssh-keyscan prints it."
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
