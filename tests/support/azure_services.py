"""Azure's services for tests, one HTTPS server on this machine that answers as their published REST references say.

Microsoft Entra ID: learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
Synapse Spark batches: learn.microsoft.com/rest/api/synapse/data-plane/spark-batch
Secrets in jobs of Synapse: learn.microsoft.com/azure/synapse-analytics/spark/microsoft-spark-utilities
Machine Learning: learn.microsoft.com/rest/api/azureml, for compute, environment-versions and jobs
Identities of its clusters: learn.microsoft.com/azure/app-service/overview-managed-identity (2017-09-01)
Key Vault: learn.microsoft.com/rest/api/keyvault/secrets/get-secret
Clouds: management.azure.com/metadata/endpoints

Jobs are processes that run what the service was told to, with the little that it gives to each.
"""

from __future__ import annotations

import base64
import json
import os
import re
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
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from azurite import ACCOUNT, Azurite
from tls import server_context

TENANT, CLIENT, SECRET = "contoso", "11111111-2222-3333-4444-555555555555", "an-app-secret"
STORAGE, SYNAPSE, VAULT = "https://storage.azure.com", "https://dev.azuresynapse.net", "https://vault.azure.net"
_ENTRA = re.compile(r"/[^/]+/(v2\.0/\.well-known/openid-configuration|oauth2/v2\.0/token)")
_BATCHES = re.compile(r"/livyApi/versions/2019-11-01-preview/sparkPools/(\w+)/batches(?:/(\d+))?")
_ARM = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/group/providers/Microsoft\.MachineLearningServices/workspaces/workspace(?:/(.+))?"
)
_LIVY_TO_AML = {"not_started": "Queued", "running": "Running", "dead": "Failed", "success": "Completed"}
#: What the library that Spark pools of Synapse have gives to jobs.
_NOTEBOOKUTILS = """
class mssparkutils:
    class credentials:
        @staticmethod
        def getToken(audience):
            return {tokens!r}[audience]
        @staticmethod
        def getSecret(vault, name, linked=None):
            return {secrets!r}[vault, name, linked]
"""


def token(audience: str) -> str:
    """A token for an audience that Azurite takes, too: it looks at everything but the signature."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": "https://sts.windows.net/contoso/",
        "nbf": now - 60,
        "iat": now,
        "exp": now + 7200,
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2ln"])


def audience_of(header: str) -> str:
    """Whom a token of a request is for; empty where it has none."""
    with suppress(ValueError, KeyError, IndexError):
        text = header.removeprefix("Bearer ").split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["aud"])
    return ""


@dataclass
class ServiceJob:
    """A job: what was asked for, and the process that does it once the service lets it."""

    number: int
    asked: dict[str, Any]
    begin: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None
    killed: bool = False

    @property
    def state(self) -> str:
        """As Livy names it."""
        if self.killed:
            return "killed"
        if self.process is None:
            return "not_started"
        code = self.process.poll()
        return "running" if code is None else "dead" if code else "success"

    def kill(self) -> None:
        """As YARN does: a signal, and soon after one that cannot be ignored."""
        self.killed = True
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            until = time.monotonic() + 5
            with suppress(ProcessLookupError):
                while time.monotonic() < until:
                    self.process.poll()
                    os.killpg(self.process.pid, 0)
                    time.sleep(0.02)
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class AzureServices:
    """The services. While `holding`, jobs stay in the queue; `failures` is how many answers are wrong before others."""

    azurite: Azurite
    certificate: Path
    folder: Path
    address: str = ""
    holding: bool = False
    failures: int = 0
    jobs: list[ServiceJob] = field(default_factory=list)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    secrets: dict[tuple[str, str, str | None], str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The variables with which our own process finds these services in place of Azure's."""
        return {
            "AZURE_AUTHORITY_HOST": self.address,
            "REQUESTS_CA_BUNDLE": str(self.certificate),
            "APP_SECRET": SECRET,
            "ARM_CLOUD_METADATA_URL": f"{self.address}/metadata/endpoints?api-version=2019-05-01",
        }

    def release(self) -> None:
        """Let all jobs begin."""
        self.holding = False
        for job in self.jobs:
            if job.process is None and not job.killed:
                job.process = job.begin()

    def end(self) -> None:
        """End what still runs."""
        for job in self.jobs:
            job.kill()

    def add_job(self, asked: dict[str, Any], begin: Callable[[], subprocess.Popen[bytes]]) -> ServiceJob:
        """A new job, which begins at once unless jobs are held."""
        job = ServiceJob(len(self.jobs) + 1, asked, begin)
        self.jobs.append(job)
        if not self.holding:
            job.process = begin()
        return job

    def run_batch(self, number: int, asked: dict[str, Any]) -> subprocess.Popen[bytes]:
        """What Spark does with a Python file: run it, with the pool's libraries."""
        here = self._folder_of(number, asked["file"])
        tokens = {"Storage": token(STORAGE), "Vault": token(VAULT)}
        (here / "notebookutils.py").write_text(_NOTEBOOKUTILS.format(tokens=tokens, secrets=self.secrets))
        return self._process([sys.executable, "job.py", *asked["args"]], here, {"PYTHONPATH": str(here)})

    def run_command(self, number: int, asked: dict[str, Any]) -> subprocess.Popen[bytes]:
        """What a cluster does with a command: bring its inputs, and run it in a shell with the cluster's identity."""
        here = self._folder_of(number, asked["inputs"]["job"]["uri"])
        python = here / "bin" / "python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        line = asked["command"].replace("${{inputs.job}}", str(here / "job.py"))
        identity = {"MSI_ENDPOINT": f"{self.address}/msi/token", "MSI_SECRET": "of the node"}
        path = {"PATH": f"{python.parent}:{os.environ['PATH']}"}
        return self._process(["/bin/sh", "-c", line], here, {**identity, **path})

    def _folder_of(self, number: int, address: str) -> Path:
        """A job's folder, with the file at an address as job.py."""
        here = self.folder / f"job-{number}"
        here.mkdir(exist_ok=True)
        container, _, name = unquote(urlsplit(address).path).removeprefix(f"/{ACCOUNT}/").partition("/")
        (here / "job.py").write_bytes(self.azurite.content(container, name))
        return here

    def _process(self, words: list[str], here: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
        own = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(self.certificate), "TMPDIR": str(here)}
        with (here / "output").open("wb") as output:
            return subprocess.Popen(
                words, cwd=here, env={**own, **variables}, stdout=output, stderr=output, start_new_session=True
            )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    services: AzureServices

    def log_message(self, *_: Any) -> None:
        pass

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.services.failures:
            self.services.failures -= 1
            self._answer(503, {"error": {"code": "ServerBusy", "message": "busy"}})
        elif _ENTRA.fullmatch(url.path):
            self._entra(url.path, {name: values[0] for name, values in parse_qs(body.decode()).items()})
        elif match := _BATCHES.fullmatch(url.path):
            self._batches(match[1], match[2], query, json.loads(body or b"null"))
        elif match := _ARM.fullmatch(url.path):
            self._arm(url.path, match[1] or "", json.loads(body or b"null"))
        elif url.path == "/metadata/endpoints":
            self._answer(200, [self._cloud()])
        elif url.path == "/msi/token" and self.headers.get("secret") == "of the node":
            self._answer(200, {"access_token": token(query["resource"].rstrip("/")), "token_type": "Bearer"})
        elif url.path.startswith("/secrets/") and audience_of(self.headers.get("Authorization", "")) == VAULT:
            self._answer(200, {"value": self.services.secrets["", url.path.removeprefix("/secrets/"), None]})
        else:
            self._answer(404, {"error": {"code": "NotFound", "message": self.path}})

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _do

    def _answer(self, status: int, content: Any = None) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _entra(self, path: str, form: dict[str, str]) -> None:
        address, tenant = self.services.address, path.split("/")[1]
        if "openid-configuration" in path:
            base = f"{address}/{tenant}/oauth2/v2.0"
            urls = {"token_endpoint": f"{base}/token", "authorization_endpoint": f"{base}/authorize"}
            self._answer(200, {**urls, "issuer": f"{address}/{tenant}/v2.0"})
        elif (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            said = "AADSTS7000215: Invalid client secret provided."
            self._answer(401, {"error": "invalid_client", "error_description": said})
        else:
            audience = form["scope"].removesuffix("/.default")
            self._answer(200, {"token_type": "Bearer", "expires_in": 3600, "access_token": token(audience)})

    def _batches(self, pool: str, number: str | None, query: dict[str, str], asked: Any) -> None:
        services = self.services
        services.requests.append((self.command, self.path, asked))
        if audience_of(self.headers.get("Authorization", "")) != SYNAPSE:
            self._answer(401, {"error": {"code": "Unauthorized", "message": "no token for this workspace"}})
        elif pool != "pool":
            self._answer(404, {"error": {"code": "SparkComputeNotFound", "message": f"no Spark pool {pool}"}})
        elif self.command == "POST":
            number_of_job = len(services.jobs) + 1
            job = services.add_job(asked, lambda: services.run_batch(number_of_job, asked))
            self._answer(200, _batch(job))
        elif number is None:
            begin, size = int(query["from"]), int(query["size"])
            batches = [_batch(job) for job in services.jobs if "file" in job.asked]
            self._answer(200, {"from": begin, "total": len(batches), "sessions": batches[begin : begin + size]})
        elif int(number) > len(services.jobs):
            self._answer(404, {"error": {"code": "BatchNotFound", "message": f"no batch {number}"}})
        elif self.command == "DELETE":
            services.jobs[int(number) - 1].kill()
            self._answer(200)
        else:
            self._answer(200, _batch(services.jobs[int(number) - 1]))

    def _cloud(self) -> dict[str, Any]:
        address = self.services.address
        login = {"loginEndpoint": address, "audiences": [address], "tenant": TENANT}
        suffixes = {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net"}
        names = {"name": "TestCloud", "portal": "https://portal.example.test/", "resourceManager": f"{address}/"}
        return {**names, "authentication": login, "suffixes": suffixes}

    def _arm(self, path: str, name: str, asked: Any) -> None:
        """Resources of a workspace as they were put; jobs have a state besides."""
        services = self.services
        services.requests.append((self.command, path, asked))
        kind, *_ = name.split("/")
        if audience_of(self.headers.get("Authorization", "")) != services.address:
            self._answer(401, {"error": {"code": "InvalidAuthenticationToken", "message": "no token for management"}})
        elif not name:
            self._answer(200, {"id": path, "name": "workspace", "location": "westeurope", "properties": {}})
        elif name.endswith("/cancel"):
            services.resources[path.removesuffix("/cancel")]["job"].kill()
            self._answer(200)
        elif self.command == "PUT":
            services.resources[path] = {"asked": asked}
            if kind == "jobs":
                number = len(services.jobs) + 1
                command = asked["properties"]
                services.resources[path]["job"] = services.add_job(asked, lambda: services.run_command(number, command))
            self._answer(201 if kind == "environments" else 200, self._resource(path))
        elif path not in services.resources:
            self._answer(404, {"error": {"code": "ResourceNotFound", "message": f"There is no {name}"}})
        else:
            self._answer(200, self._resource(path))

    def _resource(self, path: str) -> dict[str, Any]:
        resource = self.services.resources[path]
        asked = resource["asked"]
        properties = {**asked["properties"], "provisioningState": "Succeeded"}
        if "job" in resource:
            job = resource["job"]
            properties["status"] = "Canceled" if job.killed else _LIVY_TO_AML[job.state]
        return {**asked, "id": path, "name": path.rpartition("/")[2], "properties": properties}


def _batch(job: ServiceJob) -> dict[str, Any]:
    errors = [{"message": "exit code 1", "errorCode": "USER_APP_EXCEPTION"}] if job.state == "dead" else []
    return {"id": job.number, "name": job.asked["name"], "state": job.state, "appId": None, "errorInfo": errors}


@contextmanager
def running_services(azurite: Azurite, certificate: Path, folder: Path) -> Iterator[AzureServices]:
    """The services on a free port; what they run ends with them."""
    services = AzureServices(azurite, certificate, folder)
    handler = type("Handler", (_Handler,), {"services": services})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.socket = server_context(certificate).wrap_socket(server.socket, server_side=True)
        services.address = f"https://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield services
        finally:
            services.end()
            server.shutdown()
