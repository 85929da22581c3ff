"""Azure Machine Learning as a target: scripts run as command jobs on a cluster of a workspace.

The cluster is made if it is not there, with the nodes that the target's fields say, and an identity of its own, which
enters the container and the Key Vault. An environment is one of the workspace's, named by its content.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from azure.core.exceptions import ResourceNotFoundError

from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.runner import Recipe, Runner, Say
from loadcast.experiments.services.azure_login import credential_of, told
from loadcast.experiments.services.azure_plan import ServicePlan, azure_url, store_of
from loadcast.experiments.services.blob_runner import BlobRunner, Job
from loadcast.experiments.target_types import Job as Script
from loadcast.experiments.target_types import name_of
from loadcast.extras import missing_named
from loadcast.progress import Progress
from loadcast.storage.blob.location import BlobLocation

#: The states of jobs that Azure's reference has, of those in which the script runs, and of those that do not change.
_RUNNING = {"Running", "Finalizing", "CancelRequested", "NotResponding"}
_ENDED = {"Completed", "Failed", "Canceled"}
_PRIORITIES = {"dedicated": "dedicated", "lowpriority": "low_priority"}
_VERSION = "1"
_LIBRARY = logging.getLogger("azure.ai.ml")
_EXPERIMENT = "loadcast"


class AmlCompute:
    """Clusters of an Azure Machine Learning workspace."""

    name = "amlcompute"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The cluster, and the container that it shares with us."""
        login = credential_of(target)
        return BlobRunner(Cluster(target, login), store_of(target, login), self.name)

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """An environment of the workspace, on top of the target's image."""
        image = target.base_docker_image or ""
        return Recipe(name_of(environment, image), {"image": image, "conda": conda_file(environment)})

    def plan(self, target: ComputeTarget, job: Script) -> ServicePlan:
        """The script by the interpreter of its environment, or of the target's image; pyspark is told the settings."""
        return ServicePlan.of(target, job, {"environment": job.environment})


def conda_file(environment: Environment) -> dict[str, Any]:
    """A conda file with these packages, as the workspace takes it."""
    version = environment.python
    exact = "=" if version and version[0].isdigit() else ""
    pip = ["pip", {"pip": [*environment.pip]}] if environment.pip else []
    named = [package for package in environment.conda if not pip or package != "pip"]
    channels = [*environment.channels] or ["conda-forge"]
    return {"channels": channels, "dependencies": [f"python{exact}{version or ''}", *named, *pip]}


@dataclass(frozen=True)
class Cluster:
    """A cluster of a workspace, as the target says that it is to be."""

    target: ComputeTarget
    login: Any

    @property
    def name(self) -> str:
        """The cluster and its workspace."""
        return f"Cluster {self.target.compute_name} of {self.target.workspace}"

    def facts(self) -> dict[str, str]:
        """Its nodes and its identity, or that it is made when it is needed."""
        with self._workspace() as workspace:
            cluster = self._cluster(workspace)
        facts = {"workspace": self.target.workspace or "", "cluster": self.target.compute_name or ""}
        if cluster is None:
            return {**facts, "state": f"not there yet: {self._wanted()}, made by prepare or submit"}
        identity = getattr(cluster.identity, "principal_id", None)
        nodes = f"{cluster.min_instances} to {cluster.max_instances} of {cluster.size}, {cluster.tier}"
        return {**facts, "state": str(cluster.provisioning_state), "nodes": nodes, "identity": str(identity or "none")}

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Register the environment, unless it is there; the service makes its image before the first job."""
        with self._workspace() as workspace, progress(f"Asking {self.name} for the environment {recipe.name[:12]}"):
            self._make_cluster(workspace)
            return _make_environment(workspace, recipe.name, recipe.spec["image"], recipe.spec["conda"])

    def submit(self, run: str, script: BlobLocation, arguments: list[str], request: Mapping[str, Any]) -> str:
        """A command job of the run's name; one that is there already is it."""
        with self._workspace() as workspace:
            from azure.ai.ml import Input, command
            from azure.ai.ml.entities import ManagedIdentityConfiguration

            self._make_cluster(workspace)
            environment = request["service"]["environment"] or self._plain_environment(workspace)
            job = command(
                name=_job_name(run),
                display_name=_job_name(run),
                experiment_name=_EXPERIMENT,
                command=f"python ${{{{inputs.job}}}} {shlex.join(arguments)}",
                inputs={"job": Input(type="uri_file", path=azure_url(script, "wasbs", "blob"), mode="download")},
                environment=f"{_environment_name(environment)}:{_VERSION}",
                compute=self.target.compute_name,
                identity=ManagedIdentityConfiguration(),
            )
            return str(workspace.jobs.create_or_update(job).name)

    def find(self, run: str) -> str | None:
        """The job of the run's name."""
        with self._workspace() as workspace, suppress(ResourceNotFoundError):
            return str(workspace.jobs.get(_job_name(run)).name)
        return None

    def job(self, job: str) -> Job:
        """A job's state, and that it has ended."""
        with self._workspace() as workspace:
            try:
                status = workspace.jobs.get(job).status
            except ResourceNotFoundError:
                return Job("ended", f"job {job} is not known any more")
        status = getattr(status, "value", status)  # texts of this version of the client are of an enumeration
        if status in _ENDED:
            return Job("ended", f"job {job} ended as {status}; the workspace's pages have its own log")
        return Job("running" if status in _RUNNING else "queued")

    def cancel(self, job: str) -> None:
        """End a job."""
        with self._workspace() as workspace, suppress(ResourceNotFoundError):
            workspace.jobs.begin_cancel(job, polling=False)

    def _wanted(self) -> str:
        target = self.target
        return f"{target.min_nodes} to {target.max_nodes} of {target.vm_size}, {target.vm_priority}"

    def _cluster(self, workspace: Any) -> Any:
        """The cluster; None where it is not there."""
        try:
            return workspace.compute.get(self.target.compute_name)
        except ResourceNotFoundError:
            return None

    def _make_cluster(self, workspace: Any) -> None:
        """Make the cluster unless it is there; one that is stays as it is."""
        if self._cluster(workspace) is not None:
            return
        from azure.ai.ml.entities import AmlCompute as Nodes
        from azure.ai.ml.entities import IdentityConfiguration

        target = self.target
        nodes = Nodes(
            name=target.compute_name or "",
            size=target.vm_size,
            min_instances=target.min_nodes,
            max_instances=target.max_nodes,
            tier=_PRIORITIES[target.vm_priority],
            idle_time_before_scale_down=target.idle_seconds_before_scaledown,
            identity=IdentityConfiguration(type="system_assigned"),
        )
        workspace.compute.begin_create_or_update(nodes).result()

    def _plain_environment(self, workspace: Any) -> str:
        """The target's image as it is."""
        image = self.target.base_docker_image or ""
        name = hashlib.sha256(image.encode()).hexdigest()
        _make_environment(workspace, name, image, None)
        return name

    @contextmanager
    def _workspace(self) -> Iterator[Any]:
        names = (self.target.subscription_id, self.target.resource_group, self.target.workspace)
        with missing_named(), warnings.catch_warnings(), told(self.name):
            warnings.simplefilter("ignore")  # of what the client is made with, and its own of what is new in it
            if _LIBRARY.level == logging.NOTSET:
                _LIBRARY.setLevel(logging.ERROR)
            yield _client(self.login, *names)


@cache
def _client(login: Any, subscription: str | None, group: str | None, workspace: str | None) -> Any:
    """The client of a workspace, which tells nobody what it is used for."""
    from azure.ai.ml import MLClient

    return MLClient(login, subscription, group, workspace, enable_telemetry=False, show_progress=False)


def _make_environment(workspace: Any, name: str, image: str, packages: Mapping[str, Any] | None) -> bool:
    """Register an environment, unless it is there: then False."""
    from azure.ai.ml.entities import Environment as Registered

    try:
        workspace.environments.get(_environment_name(name), _VERSION)
    except ResourceNotFoundError:
        file = dict(packages) if packages else None
        made = Registered(name=_environment_name(name), version=_VERSION, image=image, conda_file=file)
        workspace.environments.create_or_update(made)
        return True
    return False


def _environment_name(name: str) -> str:
    return f"loadcast-{name[:32]}"


def _job_name(run: str) -> str:
    return f"loadcast-{run.lower()}"  # the client takes small letters alone
