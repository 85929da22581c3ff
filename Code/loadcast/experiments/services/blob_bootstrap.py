"""The script that a managed service runs: it brings the project there, runs the user's script, and keeps what it made.

It is sent as it is and needs Python 3.8 and nothing else, so it imports nothing of loadcast. What it is told stands in
a container: request.json in the run's folder; nothing secret is among its arguments or in any file. Into that folder
go the log as pieces, results.tar, and last of all end.json, which is written once and says how the run has ended.
"""

from __future__ import annotations

import ctypes
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

Result = TypeVar("Result")
_API_VERSION = "2021-08-06"
#: Seconds that a request may take, that it is tried again for, and that a token is used for.
_REQUEST_S, _PATIENCE_S, _TOKEN_S = 60.0, 300.0, 300.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_EXISTS = frozenset({409, 412})
#: Bytes of a piece of the log, and seconds between two pieces: more as the run grows older.
_PIECE_BYTES, _PIECE_S = 4 << 20, (0.5, 10.0)
#: Seconds that a script has to end when the service ends its job.
_GRACE_S = 5.0
_DEATH_SIGNAL = 1  # of prctl(2)
#: The exit code of a job that did not run the script, as another has taken the run.
TAKEN = 75


class Synapse:
    """Tokens and secrets of an Apache Spark pool of Azure Synapse, by its own library."""

    def token(self, resource: str) -> str:
        """A token for the storage or for a vault."""
        return str(self._credentials().getToken("Storage" if "storage" in resource else "Vault"))

    def secret(self, vault: dict[str, str], name: str) -> str:
        """A secret of a vault, which a linked service of the workspace opens if one is named."""
        linked = vault.get("linkedService")
        names = [vault["name"], name, *([linked] if linked else [])]
        return str(self._credentials().getSecret(*names))

    @staticmethod
    def _credentials() -> Any:
        from notebookutils import mssparkutils  # type: ignore[import-not-found]  # it is there alone

        return mssparkutils.credentials


class MachineLearning:
    """Tokens of the managed identity of an Azure Machine Learning compute cluster; secrets by the vault's REST API."""

    def token(self, resource: str) -> str:
        """A token, asked of the address that the cluster names in variables."""
        query = {"resource": resource, "api-version": "2017-09-01"}
        if os.environ.get("DEFAULT_IDENTITY_CLIENT_ID"):
            query["clientid"] = os.environ["DEFAULT_IDENTITY_CLIENT_ID"]
        address = f"{os.environ['MSI_ENDPOINT']}?{urllib.parse.urlencode(query)}"
        answer = _asked_again(lambda: _ask("GET", address, {"secret": os.environ.get("MSI_SECRET", "")}))
        return str(json.loads(answer)["access_token"])

    def secret(self, vault: dict[str, str], name: str) -> str:
        """A secret of a vault."""
        name_or_url = vault["name"]
        base = name_or_url if "://" in name_or_url else f"https://{name_or_url}.vault.azure.net"
        headers = {"Authorization": f"Bearer {self.token('https://vault.azure.net')}"}
        address = f"{base}/secrets/{urllib.parse.quote(name)}?api-version=7.4"
        return str(json.loads(_asked_again(lambda: _ask("GET", address, headers)))["value"])


class Container:
    """The part of the Blob service's REST API that is needed here, with tokens; names are below a folder."""

    def __init__(self, url: str, folder: str, service: Synapse | MachineLearning) -> None:
        self._url, self._folder, self._service = url, folder, service
        self._token, self._until = "", 0.0

    def get(self, name: str) -> bytes | None:
        """What a blob holds; None where there is none."""
        try:
            return self._request("GET", name, {})
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def put(self, name: str, content: bytes | BinaryIO, size: int | None = None) -> None:
        """Write a blob, over what is there."""
        length = len(content) if isinstance(content, bytes) else size
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Length": str(length)}
        self._request("PUT", name, {**headers, "Content-Type": "application/octet-stream"}, content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a blob that is not there; False where another has."""
        headers = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*", "Content-Type": "application/octet-stream"}
        try:
            self._request("PUT", name, headers, content)
        except urllib.error.HTTPError as error:
            if error.code not in _EXISTS:
                raise
            return self.get(name) == content  # it may be ours, and the answer was lost
        return True

    def _request(self, method: str, name: str, headers: dict[str, str], body: Any = None) -> bytes:
        address = f"{self._url}/{urllib.parse.quote(f'{self._folder}/{name}')}"

        def once() -> bytes:
            if time.monotonic() > self._until:
                self._token = self._service.token("https://storage.azure.com/")
                self._until = time.monotonic() + _TOKEN_S
            signed = {"Authorization": f"Bearer {self._token}", "x-ms-version": _API_VERSION, **headers}
            return _ask(method, address, signed, body)

        return _asked_again(once)


def _ask(method: str, address: str, headers: dict[str, str], body: Any = None) -> bytes:
    if hasattr(body, "seek"):
        body.seek(0)
    request = urllib.request.Request(address, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=_REQUEST_S) as answer:
        content: bytes = answer.read()
    return content


def _asked_again(operation: Callable[[], Result]) -> Result:
    """What an operation gives; tried again while the network or the server fails, for as long as the patience lasts."""
    until, pause = time.monotonic() + _PATIENCE_S, 0.5
    while True:
        try:
            return operation()
        except (OSError, http.client.HTTPException) as error:  # an HTTPError is an OSError
            final = isinstance(error, urllib.error.HTTPError) and error.code not in _BUSY
            if final or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 15.0)


class Log:
    """A growing file whose new bytes become pieces in the container, and are shown by the service as well."""

    def __init__(self, container: Container, folder: str, file: BinaryIO) -> None:
        self._container, self._folder, self._file = container, folder, file
        self._begun = self._sent = time.monotonic()
        self._pieces = 0

    def send(self, last: bool = False) -> None:
        """Send what is new, if it is time to; all of it at the last."""
        age = time.monotonic() - self._begun
        if not last and time.monotonic() - self._sent < min(max(age / 100, _PIECE_S[0]), _PIECE_S[1]):
            return
        while True:
            offset = self._file.tell()
            block = self._file.read(_PIECE_BYTES)
            if not block:
                return
            try:
                self._container.put(f"{self._folder}/log/{self._pieces:08d}", block)
            except (OSError, http.client.HTTPException):
                if last:
                    raise
                self._file.seek(offset)  # and once more later
                return
            self._pieces, self._sent = self._pieces + 1, time.monotonic()
            with suppress(OSError):
                sys.stdout.buffer.write(block)
                sys.stdout.flush()


class Run:
    """One run, in a folder of its own on this machine."""

    def __init__(self, container: Container, run: str, service: Synapse | MachineLearning, here: str) -> None:
        self._container, self._run, self._service = container, run, service
        self._folder, self._here, self._work = f"runs/{run}", here, os.path.join(here, "work")
        self._ended = False
        self._start = time.time()

    def do(self) -> int:
        """Run the script, unless another job has; returns the exit code."""
        if not self._container.create(f"{self._folder}/claim", uuid.uuid4().hex.encode()):
            print(f"Run {self._run} belongs to another job.")
            return TAKEN
        signal.signal(signal.SIGTERM, self._on_end)
        code, error = None, None
        try:
            code = self._script()
            self._keep()
        except Exception as problem:
            code, error = code or 1, f"{type(problem).__name__}: {problem}"[:500]
        self._say_end(code, error)
        return code if code is not None else 1

    def _say_end(self, code: int | None, error: str | None) -> None:
        """Write how the run ended, if nobody has."""
        end = {"state": "completed" if code == 0 else "failed", "code": code, "start": self._start, "end": time.time()}
        if self._is_cancelled():
            end["state"] = "cancelled"
        elif self._ended:
            end["error"] = "The service ended the job."
        elif error:
            end["error"] = error
        self._container.create(f"{self._folder}/end.json", json.dumps(end).encode())

    def _is_cancelled(self) -> bool:
        return self._container.get(f"{self._folder}/cancel") is not None

    def _on_end(self, *_: object) -> None:
        self._ended = True

    def _script(self) -> int | None:
        """Run it to its end; returns its exit code as a shell would say it, None where it was not to begin."""
        request = json.loads(self._container.get(f"{self._folder}/request.json") or b"{}")
        self._unpack(request["entries"])
        words = [request.get("python") or sys.executable, *request["words"]]
        log_path = os.path.join(self._here, "log")
        with open(log_path, "ab", 0) as out, open(log_path, "rb") as read:
            log = Log(self._container, self._folder, read)
            if self._ended or self._is_cancelled():
                return None
            try:
                process = subprocess.Popen(
                    words,
                    cwd=self._work,
                    env=self._environment(request),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,  # there are no threads here
                )
            except OSError as error:
                out.write(f"{words[0]}: {error.strerror}\n".encode())
                log.send(last=True)
                return 127
            code = self._wait(process, log)
            log.send(last=True)
        return 128 - code if code < 0 else code

    def _wait(self, process: subprocess.Popen[bytes], log: Log) -> int:
        asked: float | None = None
        while True:
            try:
                code = process.wait(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                log.send()
            if self._ended and asked is None:
                asked = time.monotonic()
                _signal_group(process.pid, signal.SIGTERM)
            elif asked is not None and time.monotonic() > asked + _GRACE_S:
                _signal_group(process.pid, signal.SIGKILL)
        _signal_group(process.pid, signal.SIGKILL)  # what it has left behind
        return code

    def _environment(self, request: dict[str, Any]) -> dict[str, str]:
        """The machine's variables, those of the run, the request's, and secrets, which stand in no file."""
        vault = request.get("vault") or {"secrets": {}}
        secrets = {name: self._service.secret(vault, secret) for name, secret in vault["secrets"].items()}
        own = {
            "LOADCAST_RUN_ID": self._run,
            "LOADCAST_RUN_LOG": os.path.join(self._here, "logged.jsonl"),
            "PYTHONUNBUFFERED": "1",
        }
        return {**os.environ, **own, **request["environment"], **secrets}

    def _unpack(self, entries: list[list[Any]]) -> None:
        for name in ("outputs", "logs"):
            os.makedirs(os.path.join(self._work, name), exist_ok=True)
        for path, digest, executable in entries:
            if {"", ".", ".."} & set(path.split("/")):
                raise ValueError(f"{path!r} leads out of the project")
            content = self._container.get(f"files/{digest}")
            if content is None or hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"{path!r} is missing or damaged in the container")
            target = os.path.join(self._work, *path.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(content)
            os.chmod(target, 0o755 if executable else 0o644)

    def _keep(self) -> None:
        """Keep outputs/, logs/ and logged.jsonl; files only."""
        with tempfile.TemporaryFile(dir=self._here) as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                for part in ("outputs", "logs"):
                    for parent, folders, files in os.walk(os.path.join(self._work, part)):
                        folders.sort()
                        for name in sorted(files):
                            path = os.path.join(parent, name)
                            _add(archive, path, os.path.relpath(path, self._work))
                _add(archive, os.path.join(self._here, "logged.jsonl"), "logged.jsonl")
            size = packed.tell()
            self._container.put(f"{self._folder}/results.tar", packed, size)


def _add(archive: tarfile.TarFile, path: str, name: str) -> None:
    if os.path.isfile(path) and not os.path.islink(path):
        archive.add(path, name, recursive=False)


def _signal_group(process: int, number: int) -> None:
    with suppress(OSError):
        os.killpg(process, number)


def _end_with_parent() -> None:
    with suppress(OSError, AttributeError):  # not a Linux
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def main(argv: list[str]) -> int:
    """Do a run: `CONTAINER_URL FOLDER RUN SERVICE`; returns the script's exit code."""
    url, folder, run, kind = argv
    service = Synapse() if kind == "synapse" else MachineLearning()
    here = tempfile.mkdtemp(prefix="loadcast-")
    try:
        return Run(Container(url, folder, service), run, service, here).do()
    finally:
        shutil.rmtree(here, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
