"""Targets that run scripts in containers, by the command `docker` (or podman under that name) of their machine.

A container sees the run's folder at the same path as its machine does, and the network as its machine does; where they
share no folders, the agent copies files into it and results out of it. Its environment is an image, made of the base
image and the conda file, and named by both.
"""

from __future__ import annotations

from pathlib import Path

from loadcast.experiments.agent.copying import COPIED
from loadcast.experiments.agent.images import INSIDE, image_name
from loadcast.experiments.agent.request import LOG_VARIABLE, OF_THE_RUN
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.machines import Machine, ThisMachine
from loadcast.experiments.plan import AGENT, RUN_ID, Plan, Word, at
from loadcast.experiments.remote_agent import Agent
from loadcast.experiments.runner import Recipe, Runner
from loadcast.experiments.target_types import (
    HOME_BASE,
    SHARED_VARIABLE,
    Job,
    name_of,
    plain_recipe,
    ssh_machine,
    variables_of,
)


class _Docker:
    """What the two types share."""

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """An image on top of the target's base image."""
        image = target.base_docker_image or ""
        return Recipe(name_of(environment, image), {**plain_recipe(environment).spec, "image": image})

    def plan(self, target: ComputeTarget, job: Job) -> Plan:
        """A container, which is removed when the script ends; without shared volumes the agent copies its files."""
        variables = variables_of(target, job)
        container: Word = ("loadcast-", RUN_ID)
        names = dict.fromkeys([*OF_THE_RUN, *variables, *job.secrets])
        made = f"{INSIDE}/environments/{job.environment}/bin/python" if job.environment else "python3"
        image = image_name(job.environment) if job.environment else target.base_docker_image or ""
        shared = SHARED_VARIABLE in variables
        words: tuple[Word, ...] = (
            *("--init", "--name", container, "--network", "host"),
            *(_mounted("@run") if target.shared_volumes else ()),
            *(_mounted(target.native_shared_directory) if shared else ()),
            *("--workdir", (at("@run/work"),) if target.shared_volumes else f"{COPIED}/work"),
            *(word for name in names for word in ("--env", name)),  # without values, which all users could see
            *(() if target.shared_volumes else ("--env", f"{LOG_VARIABLE}={COPIED}/logged.jsonl")),
            # One stream: of two, docker does not say which line came first.
            *("--entrypoint", "sh", image, "-c", 'exec "$@" 2>&1', "sh", target.python_location or made),
            *job.words,
        )
        runs: tuple[Word, ...] = ("docker", "run", "--rm")
        if not target.shared_volumes:
            runs = (*AGENT, "container", (RUN_ID,))
        return Plan((*runs, *words), variables, (("docker", "rm", "--force", container),))


class LocalDocker(_Docker):
    """A container on this machine."""

    name = "localdocker"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The agent on this machine."""
        return _agent(ThisMachine())


class RemoteDocker(_Docker):
    """A container on a machine by SSH, such as a Data Science Virtual Machine."""

    name = "remotedocker"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The agent on the machine at the target's address."""
        return _agent(ssh_machine(target, name))


def _agent(machine: Machine) -> Agent:
    """In the user's home folder, a path without the signs that volumes could not be named with.

    By the machine's own interpreter: that of the target lies in the image.
    """
    return Agent(machine, HOME_BASE)


def _mounted(path: str | None) -> tuple[Word, ...]:
    """A folder of the machine, at the same path in the container; it is made if it is not there."""
    return () if path is None else ("--volume", (at(path), ":", at(path)))
