"""Databricks as a target: a script is a one-time run of a job, on a cluster of its own or on one that is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.runner import Recipe, Runner
from loadcast.experiments.services.folder_files import environment_path
from loadcast.experiments.services.folder_runner import FolderRunner
from loadcast.experiments.target_types import Job

#: What the runtime has, and which a package in another version would break.
_OF_THE_RUNTIME = ("pyspark", "py4j")
#: What conda files name beside Python, and every runtime has.
_OF_CONDA = ("pip", "openjdk")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
#: Volumes can be read and written on clusters of one user only, or on those that keep their users apart.
_ACCESS = "SINGLE_USER"
_SINGLE_NODE = {"spark.databricks.cluster.profile": "singleNode", "spark.master": "local[*]"}


@dataclass(frozen=True)
class DatabricksPlan:
    """A script, its variables, and the task that runs it, in the fields of Databricks' Jobs API."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    task: Mapping[str, Any]

    def request(self, entries: Sequence[tuple[str, str, bool]]) -> dict[str, Any]:
        """As the runner is asked, with the files [path, sha256, executable] of the working directory."""
        return {
            "argv": [*self.argv],
            "environment": dict(self.environment),
            "task": dict(self.task),
            "entries": [[*entry] for entry in entries],
        }


class Databricks:
    """A workspace of Databricks."""

    name = "databricks"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """Whoever asks the workspace by Databricks' SDK. Raises EnvironmentNotReadyError where that is missing."""
        from loadcast.experiments.services.databricks_client import Workspace

        workspace = Workspace(target)
        return FolderRunner(workspace.name, workspace.files, workspace.jobs)

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """The packages of pip's list, which a run's cluster installs as it begins.

        Raises ConfigError for packages that only conda has.
        """
        lacking = [package for package in environment.conda if _package(package) not in _OF_CONDA]
        if lacking:
            raise ConfigError(
                f"The conda file: found {', '.join(lacking)}, wanted packages of pip's list alone: Databricks has no "
                "conda. Name these under pip."
            )
        wanted = [line for line in environment.pip if _package(line) not in _OF_THE_RUNTIME]
        return Recipe(environment.content_hash(), {"requirements": wanted})

    def plan(self, target: ComputeTarget, job: Job) -> DatabricksPlan:
        """One task of one run. Raises ConfigError for what a task of Databricks cannot have."""
        if not job.words or job.words[0].startswith("-"):
            raise ConfigError(
                "ArgumentVector: found an option of the interpreter, wanted the script first: Databricks starts it."
            )
        task: dict[str, Any] = {"task_key": "script", **_cluster(target, job.spark)}
        if job.environment:
            task["libraries"] = [{"requirements": f"{target.folder}/{environment_path(job.environment)}"}]
        return DatabricksPlan(job.words, dict(job.variables), task)


def _cluster(target: ComputeTarget, spark: Mapping[str, str]) -> dict[str, Any]:
    """The cluster of a task."""
    if target.cluster_id is not None:
        if spark:
            raise ConfigError(
                "SparkDependenciesFile: found settings of Spark, and the cluster of clusterId has its own. "
                "Wanted none, or sparkVersion and nodeType in place of clusterId."
            )
        return {"existing_cluster_id": target.cluster_id}
    cluster: dict[str, Any] = {
        "spark_version": target.spark_version,
        "node_type_id": target.node_type,
        "num_workers": target.workers,
        "data_security_mode": _ACCESS,
        "spark_conf": {**({} if target.workers else _SINGLE_NODE), **spark},
    }
    if not target.workers:
        cluster["custom_tags"] = {"ResourceClass": "SingleNode"}
    return {"new_cluster": cluster}


def _package(requirement: str) -> str:
    """The name of a package, without its channel and version."""
    name = _NAME.match(requirement.rpartition("::")[2].strip())
    return name[0].lower() if name else ""
