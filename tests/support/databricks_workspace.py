"""A workspace of Databricks on this machine: it answers as Databricks' REST reference says, and runs what is submitted.

https://docs.databricks.com/api/workspace, the pages
- Jobs 2.2: jobs/submit, jobs/getrun, jobs/listruns, jobs/cancelrun
- Files: files/upload, files/download, files/getmetadata, files/createdirectory
- Secrets: secrets/createscope, secrets/deletescope, secrets/putsecret, secrets/getsecret
- Workspace: workspace/import, workspace/getstatus, workspace/mkdirs
- Clusters 2.1: clusters/get, clusters/sparkversions, clusters/listnodetypes; SCIM: currentuser/me
A job is a process of this machine; where its cluster would mount /Volumes and /Workspace, it is told the folders here.
"""

from __future__ import annotations

import base64
import email
import email.policy
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

USER, TOKEN, JOB_TOKEN = "me@example.com", "dapi-of-the-user", "dapi-of-the-job"
RUNTIME, NODE, CLUSTER = "16.4.x-scala2.12", "Standard_D4ds_v5", "0922-112415-abcdefgh"
_NEW_CLUSTER = {"spark_version", "node_type_id", "num_workers", "data_security_mode", "spark_conf", "custom_tags"}
_TASK = {"task_key", "new_cluster", "existing_cluster_id", "libraries", "spark_python_task"}
_GRACE_S = 5.0
#: What a runtime has of its own: https://docs.databricks.com/dev-tools/databricks-utils, secrets.
_RUNTIME = """
import base64, json, os, urllib.parse, urllib.request

class dbutils:
    class secrets:
        @staticmethod
        def get(scope: str, key: str) -> str:
            query = urllib.parse.urlencode({"scope": scope, "key": key})
            url = os.environ["DATABRICKS_HOST"] + "/api/2.0/secrets/get?" + query
            login = {"Authorization": "Bearer " + os.environ["DATABRICKS_TOKEN"]}
            with urllib.request.urlopen(urllib.request.Request(url, headers=login)) as answer:
                return base64.b64decode(json.load(answer)["value"]).decode()
"""


class Refused(Exception):
    """An error of the REST reference."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Job:
    """A run of jobs, with its process."""

    number: int
    asked: dict[str, Any]
    start_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    life: str = "PENDING"
    code: str | None = None
    message: str = ""
    end_ms: int = 0
    cancelled: bool = False
    process: subprocess.Popen[bytes] | None = None

    def document(self) -> dict[str, Any]:
        """As runs/get shows it."""
        details = {"code": self.code, "type": "CLIENT_ERROR", "message": self.message}
        ended = {"termination_details": details} if self.code else {}
        return {
            "run_id": self.number,
            "run_name": self.asked["run_name"],
            "run_type": "SUBMIT_RUN",
            "start_time": self.start_ms,
            "end_time": self.end_ms,
            "status": {"state": self.life, **ended},
        }


class FakeWorkspace:
    """What the server knows: files below `root`, jobs, secrets, and all requests."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""
        self.jobs: list[Job] = []
        self.secrets: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        #: How much of a request's answer comes before its connection is cut, 0 to 1; asked of each.
        self.comes: Callable[[str, str], float] = lambda method, path: 1
        #: What the next job's cluster ends with, in place of starting.
        self.cluster_fails: str | None = None
        #: Jobs stay PENDING while this is not set.
        self.has_clusters = threading.Event()
        self.has_clusters.set()
        self._lock = threading.Lock()
        (root / "Volumes" / "main" / "loadcast" / "files").mkdir(parents=True)
        (root / "Workspace" / "Users" / USER).mkdir(parents=True)
        package = root / "runtime" / "databricks" / "sdk"
        package.mkdir(parents=True)
        for folder in (package.parent, package):
            (folder / "__init__.py").touch()
        (package / "runtime.py").write_text(_RUNTIME)

    @property
    def volume(self) -> Path:
        """The folder of the volume."""
        return self.root / "Volumes" / "main" / "loadcast" / "files"

    def at(self, path: str) -> Path:
        """A file of the workspace or of its volume, here."""
        parts = path.strip("/").split("/")
        if parts[0] not in ("Volumes", "Workspace") or ".." in parts:
            raise Refused(400, "INVALID_PARAMETER_VALUE", path)
        return self.root.joinpath(*parts)

    def submit(self, asked: dict[str, Any]) -> Job:
        """jobs/submit: the same token gives the same run."""
        (task,) = asked["tasks"]
        unknown = {*asked} - {"run_name", "idempotency_token", "tasks"} | {*task} - _TASK
        unknown |= {*task.get("new_cluster", {})} - _NEW_CLUSTER
        if unknown or len(asked["idempotency_token"]) > 64:
            raise Refused(400, "INVALID_PARAMETER_VALUE", f"{unknown}")
        with self._lock:
            known = (job for job in self.jobs if job.asked["idempotency_token"] == asked["idempotency_token"])
            if job := next(known, None):
                return job
            job = Job(1000 + len(self.jobs), asked)
            self.jobs.append(job)
        threading.Thread(target=self._run, args=(job, task), daemon=True).start()
        return job

    def _run(self, job: Job, task: dict[str, Any]) -> None:
        while not self.has_clusters.wait(0.05) and not job.cancelled:
            pass
        failure, self.cluster_fails = self.cluster_fails, None
        libraries = [self.at(library["requirements"]) for library in task.get("libraries", ())]
        cluster = task.get("new_cluster", {"data_security_mode": "SINGLE_USER"})
        if job.cancelled:
            code, message = "USER_CANCELED", "Run cancelled."
        elif failure:
            code, message = failure, "It could not be launched."
        elif not all(library.is_file() for library in libraries):
            code, message = "LIBRARY_INSTALLATION_ERROR", "There is no such file."
        elif cluster.get("data_security_mode") != "SINGLE_USER":
            code, message = "RUN_EXECUTION_ERROR", "/Volumes: no such file or directory"
        else:
            code, message = self._process(job, task["spark_python_task"])
        job.end_ms, job.code, job.message = int(time.time() * 1000), code, message
        job.life = "TERMINATED"

    def _process(self, job: Job, script: dict[str, Any]) -> tuple[str, str]:
        folder, *words = script["parameters"]
        with (self.root / f"driver-{job.number}.log").open("wb") as log:
            job.process = subprocess.Popen(
                [sys.executable, str(self.at(script["python_file"])), str(self.at(folder)), *words],
                env={
                    "PATH": "/usr/bin:/bin",
                    "PYTHONPATH": str(self.root / "runtime"),
                    "DATABRICKS_HOST": self.url,
                    "DATABRICKS_TOKEN": JOB_TOKEN,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
            )
            job.life = "RUNNING"
            ended = job.process.wait()
        if job.cancelled:
            return "USER_CANCELED", "Run cancelled."
        return ("RUN_EXECUTION_ERROR", f"SystemExit: {ended}") if ended else ("SUCCESS", "")

    def cancel(self, job: Job) -> None:
        """jobs/cancelrun: asked, and made to some time later."""
        job.cancelled = True
        if job.process is not None and job.process.poll() is None:
            job.life = "TERMINATING"
            job.process.send_signal(signal.SIGTERM)
            threading.Timer(_GRACE_S, job.process.kill).start()


class _Handler(BaseHTTPRequestHandler):
    """The REST interface."""

    protocol_version = "HTTP/1.1"
    workspace: ClassVar[FakeWorkspace]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.workspace.requests.append((self.command, self.path, body))
        self.part = self.workspace.comes(self.command, url.path)
        if not self.part:
            self.close_connection = True
            return
        try:
            answer = self._of(unquote(url.path), dict(parse_qsl(url.query)), body)
        except Refused as refused:
            self._send(refused.status, {"error_code": refused.code, "message": str(refused)})
        else:
            self._send(200, answer)

    do_GET = do_PUT = do_POST = do_HEAD = _answer

    def _of(self, path: str, query: dict[str, str], body: bytes) -> Any:
        if path == "/.well-known/databricks-config":
            return {}
        by_job = self.headers.get("Authorization") == f"Bearer {JOB_TOKEN}"
        if not by_job and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "UNAUTHENTICATED", "Invalid access token.")
        for prefix, answer in (("/api/2.0/fs/files", self._file), ("/api/2.0/fs/directories", self._folder)):
            if path.startswith(f"{prefix}/"):
                return answer(path.removeprefix(prefix), body)
        if path == "/api/2.0/secrets/get" and not by_job:
            raise Refused(400, "BAD_REQUEST", "This API can only be called from the DBUtils interface.")
        if path == "/api/2.0/workspace/import":
            return self._import(body)
        asked = {**query, **(json.loads(body) if body else {})}
        known = _ANSWERS.get((self.command, path))
        if known is None:
            raise Refused(404, "ENDPOINT_NOT_FOUND", path)
        return known(self.workspace, asked)

    def _file(self, path: str, body: bytes) -> Any:
        file = self.workspace.at(path)
        if self.command == "PUT":
            if not file.parent.is_dir():
                raise Refused(404, "NOT_FOUND", path)
            file.write_bytes(body)
            return None
        if not file.is_file():
            raise Refused(404, "NOT_FOUND", path)
        return file.read_bytes()

    def _folder(self, path: str, body: bytes) -> Any:
        if not self.workspace.at("/".join(path.split("/")[:5])).is_dir():
            raise Refused(404, "NOT_FOUND", "Volume does not exist.")
        self.workspace.at(path).mkdir(parents=True, exist_ok=True)

    def _import(self, body: bytes) -> Any:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + body, policy=email.policy.default).iter_parts()
        fields = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}
        assert fields["format"] == b"RAW"  # which makes a file of it, not a notebook
        path, content = fields["path"], fields["content"]
        assert isinstance(path, bytes)
        assert isinstance(content, bytes)
        self.workspace.at(path.decode()).write_bytes(content)
        return {}

    def _send(self, status: int, answer: Any) -> None:
        content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(BrokenPipeError):
                self.wfile.write(content[: int(len(content) * self.part)])
        self.close_connection |= self.part < 1


def _job(workspace: FakeWorkspace, asked: dict[str, Any]) -> Job:
    for job in workspace.jobs:
        if job.number == int(asked["run_id"]):
            return job
    raise Refused(400, "INVALID_PARAMETER_VALUE", f"Run {asked['run_id']} does not exist.")


def _create_scope(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    if asked["scope"] in workspace.secrets:
        raise Refused(400, "RESOURCE_ALREADY_EXISTS", asked["scope"])
    workspace.secrets[asked["scope"]] = {}
    return {}


def _delete_scope(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    if workspace.secrets.pop(asked["scope"], None) is None:
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", asked["scope"])
    return {}


def _get_secret(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    value = workspace.secrets.get(asked["scope"], {}).get(asked["key"])
    if value is None:
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", asked["key"])
    return {"key": asked["key"], "value": base64.b64encode(value.encode()).decode()}


def _put_secret(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    workspace.secrets[asked["scope"]][asked["key"]] = asked["string_value"]
    return {}


def _get_status(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    if not workspace.at(asked["path"]).exists():
        raise Refused(404, "RESOURCE_DOES_NOT_EXIST", asked["path"])
    return {"path": asked["path"], "object_type": "FILE"}


def _mkdirs(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    workspace.at(asked["path"]).mkdir(parents=True, exist_ok=True)
    return {}


def _cancel(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    workspace.cancel(_job(workspace, asked))
    return {}


def _cluster(workspace: FakeWorkspace, asked: dict[str, Any]) -> Any:
    if asked["cluster_id"] != CLUSTER:
        raise Refused(400, "INVALID_PARAMETER_VALUE", f"Cluster {asked['cluster_id']} does not exist")
    return {"cluster_id": CLUSTER, "cluster_name": "shared", "state": "RUNNING", "spark_version": RUNTIME}


_NODE = {"node_type_id": NODE, "memory_mb": 16384, "num_cores": 4.0, "description": NODE, "instance_type_id": NODE,
         "category": "General Purpose"}  # fmt: skip
_ANSWERS: dict[tuple[str, str], Callable[[FakeWorkspace, dict[str, Any]], Any]] = {
    ("GET", "/api/2.0/preview/scim/v2/Me"): lambda workspace, asked: {"userName": USER},
    ("GET", "/api/2.1/clusters/get"): _cluster,
    ("GET", "/api/2.1/clusters/spark-versions"): lambda workspace, asked: {
        "versions": [{"key": RUNTIME, "name": "16.4 LTS (includes Apache Spark 3.5.2, Scala 2.12)"}]
    },
    ("GET", "/api/2.1/clusters/list-node-types"): lambda workspace, asked: {"node_types": [_NODE]},
    ("GET", "/api/2.0/workspace/get-status"): _get_status,
    ("POST", "/api/2.0/workspace/mkdirs"): _mkdirs,
    ("POST", "/api/2.0/secrets/scopes/create"): _create_scope,
    ("POST", "/api/2.0/secrets/scopes/delete"): _delete_scope,
    ("POST", "/api/2.0/secrets/put"): _put_secret,
    ("GET", "/api/2.0/secrets/get"): _get_secret,
    ("POST", "/api/2.2/jobs/runs/submit"): lambda workspace, asked: {"run_id": workspace.submit(asked).number},
    ("GET", "/api/2.2/jobs/runs/get"): lambda workspace, asked: _job(workspace, asked).document(),
    ("GET", "/api/2.2/jobs/runs/list"): lambda workspace, asked: {
        "runs": [job.document() for job in reversed(workspace.jobs)]
    },
    ("POST", "/api/2.2/jobs/runs/cancel"): _cancel,
}


@contextmanager
def running_workspace(root: Path) -> Iterator[FakeWorkspace]:
    """A workspace that answers on a port of this machine; its jobs end with it."""
    workspace = FakeWorkspace(root)
    handler = type("Handler", (_Handler,), {"workspace": workspace})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        workspace.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield workspace
        finally:
            for job in workspace.jobs:
                if job.process is not None and job.process.poll() is None:
                    job.process.kill()
            server.shutdown()
            thread.join()
    shutil.rmtree(root)
