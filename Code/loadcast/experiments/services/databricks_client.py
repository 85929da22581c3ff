"""A workspace of Databricks by its SDK: files of a volume, one-time runs of jobs, and secret scopes.

https://docs.databricks.com/api/workspace: Jobs (`jobs/runs/submit`, `get`, `list`, `cancel`), Files (`fs/files`,
`fs/directories`), Secrets (`scopes`, `put`), Workspace (`import`). The SDK asks again for five minutes while the
workspace cannot be reached, or says that it has too much to do.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from loadcast import __version__
from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.experiments.agent.state import CANCELLED, FAILED, RUNNING, STARTING, State
from loadcast.experiments.compute import ComputeTarget
from loadcast.experiments.services.folder_files import bootstrap_file
from loadcast.extras import require
from loadcast.references import read_reference

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import BaseRun, Run

Taken = TypeVar("Taken")
_STATES = {
    "BLOCKED": STARTING,
    "PENDING": STARTING,
    "QUEUED": STARTING,
    "WAITING": STARTING,
    "RUNNING": RUNNING,
    "TERMINATING": RUNNING,
}
_CANCELLED = ("USER_CANCELED", "CANCELED")
#: One secret has all variables, as names of secrets know no capitals.
_SECRET = "variables"
_MOST_SECRET_BYTES = 128 << 10
#: How often a file is asked for whose connection breaks off in the middle.
_TRIES = 3
#: Seconds that a workspace is waited for: in all that runs need, and where somebody looks whether it is there.
PATIENCE_S, LOOK_S = 300, 10


class MissingError(EnvironmentNotReadyError):
    """What was asked for is not in the workspace."""


class Workspace:
    """A workspace, asked as soon as one of its parts is. Raises EnvironmentNotReadyError where the SDK is missing."""

    def __init__(self, target: ComputeTarget) -> None:
        require("databricks")
        self.target = target
        self.files = VolumeFiles(self, target.folder or "")
        self.jobs = DatabricksJobs(self)

    @property
    def host(self) -> str:
        """The workspace's URL."""
        address = self.target.address or ""
        return address if "://" in address else f"https://{address}"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"Databricks at {self.host.partition('://')[2].rstrip('/')}"

    @cached_property
    def client(self) -> WorkspaceClient:
        """The SDK's client, logged in."""
        return self.connect(PATIENCE_S)

    def connect(self, patience_s: int) -> WorkspaceClient:
        """A client that asks again for so long while the workspace cannot be reached."""
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config

        try:
            config = Config(
                host=self.host,
                product="loadcast",
                product_version=__version__,
                retry_timeout_seconds=patience_s,
                disable_experimental_files_api_client=True,  # the published Files API, a request for a file
                **login(self.target),
            )
        except ValueError as error:
            raise EnvironmentNotReadyError(
                f"{self.name} lets nobody in: {error}. Name a login in the target: token, or clientId and clientSecret."
            ) from error
        return WorkspaceClient(config=config)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise the SDK's errors as ours."""
        from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated
        from databricks.sdk.errors.base import DatabricksError

        try:
            yield
        except NotFound as error:
            raise MissingError(f"{self.name} does not have what was asked for: {error}") from error
        except (Unauthenticated, PermissionDenied) as error:
            raise EnvironmentNotReadyError(
                f"{self.name} refuses: {error}. Wanted a login that may do so: see token and clientId of the target."
            ) from error
        except TimeoutError as error:
            raise EnvironmentNotReadyError(
                f"{self.name} cannot be reached: {error.__cause__ or error}. Runs there go on; ask again later."
            ) from error
        except (DatabricksError, ValueError, OSError) as error:
            raise EnvironmentNotReadyError(f"{self.name} cannot do what was asked: {error}") from error


def login(target: ComputeTarget) -> dict[str, Any]:
    """How the SDK logs in: by a token, as a service principal, or as it finds out for itself where none is named."""
    if target.token is not None:
        return {"auth_type": "pat", "token": read_reference(target.token, "token")}
    if target.client_id is None or target.client_secret is None:
        return {}
    secret = read_reference(target.client_secret, "clientSecret")
    if target.tenant_id is None:
        return {"auth_type": "oauth-m2m", "client_id": target.client_id, "client_secret": secret}
    return {
        "auth_type": "azure-client-secret",
        "azure_client_id": target.client_id,
        "azure_client_secret": secret,
        "azure_tenant_id": target.tenant_id,
    }


class VolumeFiles:
    """The files of a folder of a volume."""

    def __init__(self, workspace: Workspace, folder: str) -> None:
        self._workspace, self._folder = workspace, folder
        self._made: set[str] = set()

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        try:
            with self._workspace.errors():
                self._workspace.client.files.get_metadata(self._at(path))
        except MissingError:
            return False
        return True

    def read(self, path: str) -> bytes | None:
        """A small file; None where there is none."""
        return self._download(path, lambda content: content.read())

    def fetch(self, path: str, target: Path) -> bool:
        """Copy a file to a path here; False where there is none."""

        def copy(content: BinaryIO) -> bool:
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)
            return True

        return self._download(path, copy) or False

    def write(self, path: str, content: BinaryIO) -> None:
        """Write a file as a whole; folders are made."""
        parent = self._at(path).rpartition("/")[0]
        with self._workspace.errors():
            if parent not in self._made:
                self._workspace.client.files.create_directory(parent)
                self._made.add(parent)
            self._workspace.client.files.upload(self._at(path), content, overwrite=True)

    def _download(self, path: str, take: Callable[[BinaryIO], Taken]) -> Taken | None:
        """What `take` makes of a file, from its beginning again where the connection breaks off; None without one."""
        from requests import RequestException

        for left in reversed(range(_TRIES)):
            try:
                with self._workspace.errors():
                    content = self._workspace.client.files.download(self._at(path)).contents
                    assert content is not None
                    with content:
                        return take(content)
            except MissingError:
                return None
            except EnvironmentNotReadyError as error:
                if not left or not isinstance(error.__cause__, RequestException):
                    raise
        return None

    def _at(self, path: str) -> str:
        return f"{self._folder}/{path}"


class DatabricksJobs:
    """One-time runs of jobs; each has the id of the run for a token, so that it is submitted once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def facts(self) -> dict[str, str]:
        """Who is logged in, what the cluster is, and the folder, which is made. Raises ConfigError for a wrong one."""
        target, client = self._workspace.target, self._workspace.connect(LOOK_S)
        with self._workspace.errors():
            user = client.current_user.me().user_name or ""
            cluster = self._cluster_facts(client) if target.cluster_id else self._node_facts(client)
            client.files.create_directory(target.folder or "")
        return {"workspace": self._workspace.host, "user": user, **cluster, "folder": target.folder or ""}

    def _cluster_facts(self, client: WorkspaceClient) -> dict[str, str]:
        cluster = client.clusters.get(self._workspace.target.cluster_id or "")
        state = cluster.state.value.lower() if cluster.state else "unknown"
        return {"cluster": f"{cluster.cluster_name}, {state}", "runtime": cluster.spark_version or ""}

    def _node_facts(self, client: WorkspaceClient) -> dict[str, str]:
        target = self._workspace.target
        runtimes = {version.key: version.name for version in client.clusters.spark_versions().versions or ()}
        nodes = {node.node_type_id: node for node in client.clusters.list_node_types().node_types or ()}
        self._check("sparkVersion", target.spark_version, runtimes)
        self._check("nodeType", target.node_type, nodes)
        node = nodes[target.node_type or ""]
        size = f"{node.num_cores:g} cores, {node.memory_mb // 1024} GB"
        return {"runtime": runtimes[target.spark_version] or "", "node": f"{node.node_type_id}: {size}"}

    def _check(self, field: str, value: str | None, known: Iterable[str | None]) -> None:
        if value not in known:
            some = ", ".join(sorted(filter(None, known))[:10])
            raise ConfigError(f"{field}: found {value}, wanted one that {self._workspace.name} has, such as {some}.")

    def find(self, run: str) -> str | None:
        """The newest run of that name."""
        from databricks.sdk.service.jobs import RunType

        with self._workspace.errors():
            known: Iterator[BaseRun] = self._workspace.client.jobs.list_runs(run_type=RunType.SUBMIT_RUN)
            return next((str(job.run_id) for job in known if job.run_name == _job_name(run)), None)

    def keep_secrets(self, run: str, secrets: Mapping[str, str]) -> dict[str, str]:
        """Put the variables into a secret scope of the run's own, which only its creator can read."""
        from databricks.sdk.errors import ResourceAlreadyExists

        scope, content = _job_name(run), json.dumps(dict(secrets))
        if len(content.encode()) > _MOST_SECRET_BYTES:
            raise ConfigError(
                f"EnvironmentVariables: found secrets of {len(content.encode()) >> 10} KB, wanted at most "
                f"{_MOST_SECRET_BYTES >> 10} KB in all, which is what a secret of Databricks has room for."
            )
        api = self._workspace.client.secrets
        with self._workspace.errors():
            with suppress(ResourceAlreadyExists):  # of a client that ended before it had submitted the run
                api.create_scope(scope)
            api.put_secret(scope, _SECRET, string_value=content)
        return {"scope": scope, "key": _SECRET}

    def forget_secrets(self, run: str) -> None:
        """Remove the scope."""
        with suppress(MissingError), self._workspace.errors():
            self._workspace.client.secrets.delete_scope(_job_name(run))

    def submit(self, run: str, request: Mapping[str, Any]) -> str:
        """Submit a one-time run of the task."""
        from databricks.sdk.service.jobs import SubmitTask

        script = {"python_file": self._installed(), "parameters": [self._workspace.target.folder, run]}
        task = SubmitTask.from_dict({**request["task"], "spark_python_task": script})
        with self._workspace.errors():
            waiter = self._workspace.client.jobs.submit(run_name=_job_name(run), idempotency_token=run, tasks=[task])
        return str(waiter.bind()["run_id"])

    def state(self, job: str) -> State:
        """The state of a job, as far as the service knows it."""
        try:
            with self._workspace.errors():
                return job_state(self._workspace.client.jobs.get_run(int(job)))
        except MissingError:  # it keeps them for some weeks
            return State(state=FAILED, code=None, end=time.time(), error=f"job {job} is not known any more")

    def cancel(self, job: str) -> None:
        """Ask for its end."""
        with self._workspace.errors():
            self._workspace.client.jobs.cancel_run(int(job))

    def _installed(self) -> str:
        """The path of what runs scripts, a file of the user's in the workspace, where jobs can begin."""
        from databricks.sdk.service.workspace import ImportFormat

        (name, content), client = bootstrap_file(), self._workspace.client
        with self._workspace.errors():
            folder = f"/Workspace/Users/{client.current_user.me().user_name}/.loadcast"
        path = f"{folder}/{name}"
        try:
            with self._workspace.errors():
                client.workspace.get_status(path)
        except MissingError:
            with self._workspace.errors():
                client.workspace.mkdirs(folder)
                client.workspace.upload(path, content, format=ImportFormat.RAW, overwrite=True)
        return path


def job_state(run: Run) -> State:
    """A run of Databricks' in our words: `status` of runs/get, whose values its reference lists."""
    status = run.status
    life = status.state.value if status and status.state else ""
    if life != "TERMINATED":
        return State(state=_STATES.get(life, RUNNING), start=(run.start_time or 0) / 1000)
    details = status.termination_details if status else None
    code = details.code.value if details and details.code else "unknown"
    said = f"{code}: {details.message}" if details and details.message else code
    end = run.end_time / 1000 if run.end_time else time.time()
    state = CANCELLED if code in _CANCELLED else FAILED
    return State(state=state, code=None, start=(run.start_time or 0) / 1000, end=end, error=said)


def _job_name(run: str) -> str:
    """Of the job, and of its scope of secrets."""
    return f"loadcast-{run}"
