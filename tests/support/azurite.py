"""Azurite, a real blob server, for tests: one for the whole session, on a free port of this machine, in memory."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

PROGRAM = Path(__file__).resolve().parents[1] / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "devstoreaccount1"
# Azurite's key is published and opens nothing; in parts, so that those who search files for keys pass over it.
KEY = "/".join(("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq", "K1SZFPTOtr", "KBHBeksoGMGw=="))
# Azurite ends with its standard input, so that nothing is left of it when the tests are killed.
END_WITH_INPUT = "data:text/javascript,process.stdin.on('end',()=>process.exit()).resume()"
START_S = 60


@dataclass(frozen=True)
class Azurite:
    """A running Azurite. `endpoint` is the account's address, such as `http://127.0.0.1:10000/devstoreaccount1`."""

    endpoint: str
    account: str = ACCOUNT
    key: str = field(default=KEY, repr=False)

    @property
    def service(self) -> BlobServiceClient:
        """The SDK's client, with the account's key."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.endpoint, credential={"account_name": self.account, "account_key": self.key})

    @property
    def connection_string(self) -> str:
        """What the portal calls the connection string."""
        parts = {"AccountName": self.account, "AccountKey": self.key, "BlobEndpoint": self.endpoint}
        return "DefaultEndpointsProtocol=http;" + "".join(f"{name}={value};" for name, value in parts.items())

    def new_container(self, name: str | None = None, **options: Any) -> str:
        """Make a container, empty and private unless `options` of the SDK say else; the same name is made anew."""
        name = name or f"test-{uuid.uuid4().hex}"
        if name in self.containers():
            self.delete_container(name)
        with self.service as service:
            service.create_container(name, **options)
        return name

    def delete_container(self, name: str) -> None:
        """Delete a container with all in it."""
        with self.service as service:
            service.delete_container(name)

    def sas(
        self,
        container: str,
        permissions: str = "rl",
        minutes: float = 60,
        start: datetime | None = None,
        expiry: datetime | None = None,
    ) -> str:
        """A SAS of one container, without `?`, for `minutes` from now (fewer than 0: expired) or until `expiry`."""
        from azure.storage.blob import generate_container_sas

        end = expiry or datetime.now(UTC) + timedelta(minutes=minutes)
        return generate_container_sas(
            self.account, container, account_key=self.key, permission=permissions, start=start, expiry=end
        )

    def upload_folder(self, container: str, folder: Path, prefix: str = "") -> None:
        """Put every file below `folder` into the container, under `prefix` and its path in the folder."""
        with self.service as service, service.get_container_client(container) as client:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                with path.open("rb") as file:
                    client.upload_blob(prefix + path.relative_to(folder).as_posix(), file, overwrite=True)

    def download_folder(self, container: str, folder: Path, prefix: str = "") -> None:
        """Bring every blob whose name begins with `prefix` into the folder, without that prefix in its name."""
        with self.service as service, service.get_container_client(container) as client:
            found = list(client.list_blobs(name_starts_with=prefix, include=["metadata"]))
            for name in [blob.name for blob in found if "hdi_isfolder" not in (blob.metadata or {})]:
                target = folder / name.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(client.download_blob(name).readall())

    def names(self, container: str, prefix: str = "") -> list[str]:
        """Names of the container's blobs, sorted."""
        with self.service as service, service.get_container_client(container) as client:
            return sorted(client.list_blob_names(name_starts_with=prefix))

    def containers(self) -> list[str]:
        """Names of the account's containers."""
        with self.service as service:
            return [str(found.name) for found in service.list_containers()]

    def put(self, container: str, name: str, content: bytes) -> None:
        """Write a blob, over what is there."""
        with self.service as service, service.get_blob_client(container, name) as client:
            client.upload_blob(content, overwrite=True)

    def content(self, container: str, name: str) -> bytes:
        """The bytes of a blob."""
        with self.service as service, service.get_blob_client(container, name) as client:
            return client.download_blob().readall()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azurite for all tests; each makes containers of its own."""
    with running_azurite(tmp_path_factory.mktemp("azurite") / "log") as server:
        yield server


@contextmanager
def running_azurite(log: Path, port: int = 0, *options: str, store: Path | None = None) -> Iterator[Azurite]:
    """Azurite on a port (0: a free one), what it says in the file `log`; its blobs in the folder `store`, or in memory.

    Skips the test where it is not installed.
    """
    node = shutil.which("node")
    if node is None or not PROGRAM.exists():
        pytest.skip("Azurite is not installed: scripts/setup-azurite.sh does it where there is Node.js with npm")
    argv = [node, "--import", END_WITH_INPUT, str(PROGRAM), *_options(port, store), *options]
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, cwd=log.parent, start_new_session=True
        )
    try:
        yield Azurite(f"{_address(process, log)}/{ACCOUNT}")
    finally:
        process.kill()  # it holds nothing that has to be kept
        process.communicate()


def _options(port: int, store: Path | None) -> list[str]:
    return [
        *(["--location", str(store)] if store else ["--inMemoryPersistence"]),
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
    ]


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, as soon as it says so."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"listens on (https?://\S+:\d+)\n", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"Azurite did not start: {log.read_text()}")
