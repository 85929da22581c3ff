"""Azure Synapse as a target: scripts run as Spark batches of a pool, by the pool's own environment."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import ResourceNotFoundError

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.conda import Environment
from loadcast.experiments.runner import Recipe, Runner, Say
from loadcast.experiments.services.azure_login import credential_of, told
from loadcast.experiments.services.azure_plan import ServicePlan, azure_url, store_of
from loadcast.experiments.services.blob_runner import BlobRunner, Job
from loadcast.experiments.target_types import Job as Script
from loadcast.extras import missing_named
from loadcast.progress import Progress
from loadcast.storage.blob.location import BlobLocation

#: Livy's states, as Azure's reference has them: not_started, starting, idle, busy, shutting_down, error, dead, killed,
#: success, running, recovering.
_QUEUED, _ENDED = {"not_started", "starting", "recovering"}, {"error", "dead", "killed", "success"}
#: What a batch has unless Spark's settings say else: two executors, all of the smallest nodes that pools have.
_SIZES = {
    "spark.driver.memory": "28g",
    "spark.driver.cores": "4",
    "spark.executor.memory": "28g",
    "spark.executor.cores": "4",
    "spark.executor.instances": "2",
}
#: Once, and with time for the script to begin: the driver waits for its Spark session.
_ONCE = {"spark.yarn.maxAppAttempts": "1", "spark.yarn.am.waitTime": "3600s"}
_PAGE = 100


class Synapse:
    """Spark pools of a Synapse workspace."""

    name = "synapse"

    def runner(self, target: ComputeTarget, name: str, project: Path) -> Runner:
        """The pool, and the container that it shares with us."""
        login = credential_of(target)
        workspace = target.workspace or ""
        endpoint = workspace if "://" in workspace else f"https://{workspace}.dev.azuresynapse.net"
        pool = SparkPool(endpoint, target.spark_pool or "", login)
        return BlobRunner(pool, store_of(target, login), self.name)

    def recipe(self, target: ComputeTarget, environment: Environment) -> Recipe:
        """None: a pool has its packages, for all that runs there."""
        raise ConfigError(
            "PrepareEnvironment: found true, wanted false: on synapse the environment is the pool's. "
            "Give the conda file's packages to the pool, as its requirements."
        )

    def plan(self, target: ComputeTarget, job: Script) -> ServicePlan:
        """The script by the pool's interpreter, and Spark's settings for the batch."""
        sizes = {**_SIZES, **{name: value for name, value in job.spark.items() if name in _SIZES}}
        settings = {name: value for name, value in job.spark.items() if name not in _SIZES}
        return ServicePlan.of(target, job, {"sizes": sizes, "conf": {**settings, **_ONCE}}, tell_pyspark=False)


@dataclass(frozen=True)
class SparkPool:
    """A Spark pool, at a workspace's development endpoint."""

    endpoint: str
    pool: str
    login: Any

    @property
    def name(self) -> str:
        """The pool and its workspace."""
        return f"Spark pool {self.pool} of {urlsplit(self.endpoint).hostname}"

    def facts(self) -> dict[str, str]:
        """How many batches the pool knows; that it answers is what counts."""
        with self._batches() as batches:
            total = batches.get_spark_batch_jobs(from_parameter=0, size=1).total
        return {"workspace": self.endpoint, "spark pool": self.pool, "batches": str(total)}

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Never: there is no recipe."""
        return False

    def submit(self, run: str, script: BlobLocation, arguments: list[str], request: Mapping[str, Any]) -> str:
        """A batch; returns its number."""
        with self._batches() as batches:
            return str(batches.create_spark_batch_job(_options(run, script, arguments, request["service"])).id)

    def find(self, run: str) -> str | None:
        """The batch of the run's name."""
        with self._batches() as batches:
            begin = 0
            while True:
                page = batches.get_spark_batch_jobs(from_parameter=begin, size=_PAGE)
                sessions = page.sessions or []
                number = next((batch.id for batch in sessions if batch.name == _batch_name(run)), None)
                begin += len(sessions)
                if number is not None or not sessions or begin >= page.total:
                    return None if number is None else str(number)

    def job(self, job: str) -> Job:
        """A batch's state, and why it has ended."""
        with self._batches() as batches:
            try:
                batch = batches.get_spark_batch_job(int(job), detailed=True)
            except ResourceNotFoundError:
                return Job("ended", f"batch {job} is not known any more")
        if batch.state in _QUEUED:
            return Job("queued")
        if batch.state not in _ENDED:
            return Job("running")
        reasons = [error.message for error in batch.errors or [] if error.message]
        return Job("ended", f"batch {job} ended as {batch.state}{': ' if reasons else ''}{'; '.join(reasons)}")

    def cancel(self, job: str) -> None:
        """End a batch, and its application with it."""
        with self._batches() as batches, suppress(ResourceNotFoundError):
            batches.cancel_spark_batch_job(int(job))

    @contextmanager
    def _batches(self) -> Iterator[Any]:
        with missing_named(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the client is made with
            from azure.synapse.spark import SparkClient
        with told(self.name), SparkClient(self.login, self.endpoint, self.pool) as client:
            yield client.spark_batch


def _options(run: str, script: BlobLocation, arguments: list[str], service: Mapping[str, Any]) -> Any:
    """What a batch is asked to be."""
    from azure.synapse.spark.models import SparkBatchJobOptions

    sizes = service["sizes"]
    return SparkBatchJobOptions(
        name=_batch_name(run),
        file=azure_url(script, "abfss", "dfs"),
        arguments=arguments,
        configuration=service["conf"],
        driver_memory=sizes["spark.driver.memory"],
        driver_cores=_number(sizes, "spark.driver.cores"),
        executor_memory=sizes["spark.executor.memory"],
        executor_cores=_number(sizes, "spark.executor.cores"),
        executor_count=_number(sizes, "spark.executor.instances"),
    )


def _batch_name(run: str) -> str:
    return f"loadcast-{run}"


def _number(sizes: Mapping[str, str], name: str) -> int:
    try:
        return int(sizes[name])
    except ValueError:
        raise ConfigError(f"{name}: found {sizes[name]!r}, wanted a whole number.") from None
