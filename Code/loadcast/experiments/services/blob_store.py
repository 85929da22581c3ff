"""What runs on a service have in a container beside it: the project's files, and what each run is told and leaves.

FOLDER/bootstrap-VERSION.py      the script that the service runs, blob_bootstrap.py
FOLDER/files/SHA256              the contents of the project's files
FOLDER/runs/RUN/request.json     what the run is asked; attempt, job.json: that a job was asked for, and its name
FOLDER/runs/RUN/claim            the job that has taken the run; cancel: that it is to end
FOLDER/runs/RUN/log/00000000     the log in pieces, each written once
FOLDER/runs/RUN/results.tar      outputs/, logs/ and logged.jsonl
FOLDER/runs/RUN/end.json         how the run has ended, written once by whoever knows first
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, cast

from loadcast.errors import ArtefactError
from loadcast.experiments.agent.state import State
from loadcast.experiments.locations import blob_path
from loadcast.experiments.services.log_and_results import unpack_results
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.errors import ChangedError
from loadcast.storage.blob.lease import Lease
from loadcast.storage.blob.location import BlobLocation, joined

#: The folder in the container, below the path of the target's address.
FOLDER = "loadcast"
_BOOTSTRAP = Path(__file__).with_name("blob_bootstrap.py")
_UPLOADS = 8


@dataclass(frozen=True)
class BlobStore:
    """The container at a location, entered with `access`."""

    location: BlobLocation
    access: Access

    @property
    def folder(self) -> str:
        """The name of the folder that everything is below."""
        return joined(self.location.path, FOLDER)

    @property
    def url(self) -> str:
        """The container's address."""
        return self.location.at("").url

    @cached_property
    def container(self) -> Container:
        """The container."""
        return Container(self.location.at(""), self.access)

    def send_files(self, project: Path, files: Iterable[SnapshotFile]) -> int:
        """Upload the contents that are not there; returns how many bytes these have."""
        sizes = {file.sha256: file.size for file in files}
        prefix = f"{self.folder}/files/"
        there = {blob.name.removeprefix(prefix) for blob in self.container.list(prefix)} if sizes else set()
        missing = sorted(sizes.keys() - there)
        with ThreadPoolExecutor(_UPLOADS) as threads:
            for _ in threads.map(lambda name: self.container.upload(blob_path(project, name), prefix + name), missing):
                pass
        return sum(sizes[name] for name in missing)

    def send_bootstrap(self) -> BlobLocation:
        """Upload the script that the service runs, unless it is there; returns its location."""
        content = _BOOTSTRAP.read_bytes()
        name = f"{self.folder}/bootstrap-{hashlib.sha256(content).hexdigest()[:16]}.py"
        if self.container.stat(name) is None:
            self.container.put(name, content)
        return self.location.at(name)

    def put_request(self, run: str, request: Mapping[str, Any]) -> None:
        """Write what a run is asked."""
        self.container.put(self._name(run, "request.json"), json.dumps(dict(request)).encode())

    def starting(self, run: str) -> AbstractContextManager[Lease]:
        """Be the only one who starts a run. Raises OutputError while another is."""
        return self.container.lease(self._name(run, "starting"))

    def first_attempt(self, run: str) -> bool:
        """Whether no job was ever asked for; from now on one was."""
        return self._create(run, "attempt", b"")

    def put_job(self, run: str, job: str) -> None:
        """Note the service's own name for a run's job."""
        self.container.put(self._name(run, "job.json"), json.dumps({"job": job}).encode())

    def job(self, run: str) -> str | None:
        """That name; None where no job is known."""
        content = self._read(run, "job.json")
        return None if content is None else str(content["job"])

    def ask_to_end(self, run: str) -> None:
        """Say that a run is to end, so that a job that is not there yet does not begin it."""
        self.container.put(self._name(run, "cancel"), b"")

    def end(self, run: str) -> State | None:
        """How a run has ended; None for one that has not, or that is not there."""
        return cast(State | None, self._read(run, "end.json"))

    def put_end(self, run: str, state: State) -> State:
        """Say how a run has ended, unless somebody has; returns what has been said."""
        return state if self._create(run, "end.json", json.dumps(state).encode()) else self.end(run) or state

    def piece(self, run: str, index: int) -> bytes | None:
        """A piece of the log by its number from 0; None where it is not there yet."""
        answer = self.container.get(self._name(run, f"log/{index:08d}"))
        return None if answer is None else answer[0]

    def pieces(self, run: str) -> Iterator[bytes]:
        """The pieces that there are."""
        for index in count():
            block = self.piece(run, index)
            if block is None:
                return
            yield block

    def collect(self, run: str, folder: Path) -> None:
        """Bring what a run has left into a folder. Raises ArtefactError where it is damaged."""
        with (folder / "log").open("wb") as log:
            for block in self.pieces(run):
                log.write(block)
        name = self._name(run, "results.tar")
        blob = self.container.stat(name)
        if blob is None:  # the job was ended from outside
            return
        packed = folder / ".results.tar"
        self.container.download(blob, packed)
        try:
            unpack_results(packed, folder, run)
        finally:
            packed.unlink()

    def _name(self, run: str, name: str) -> str:
        return f"{self.folder}/runs/{run}/{name}"

    def _create(self, run: str, name: str, content: bytes) -> bool:
        """Write a blob that is not there; False where it is."""
        try:
            self.container.put(self._name(run, name), content, new=True)
        except ChangedError:
            return False
        return True

    def _read(self, run: str, name: str) -> Any:
        answer = self.container.get(self._name(run, name))
        try:
            return None if answer is None else json.loads(answer[0])
        except ValueError as error:
            raise ArtefactError(f"{self.location.at(self._name(run, name))} is damaged: {error}.") from error
