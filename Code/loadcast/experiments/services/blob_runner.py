"""Runs scripts as jobs of a service that has a container beside it: what is common to all of them.

The service runs our bootstrap, which does the rest (blob_bootstrap.py); it is asked for little: to begin a job, how it
is, and to end it. What a run is told, says and leaves lies in a container, and so does how it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from loadcast.errors import ConfigError, EnvironmentNotReadyError, OutputError
from loadcast.experiments.agent.state import CANCELLED, ENDED, FAILED, RUNNING, STARTING, State
from loadcast.experiments.runner import Recipe, Say
from loadcast.experiments.services.blob_store import BlobStore
from loadcast.experiments.services.log_and_results import follow_parts
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.progress import Progress
from loadcast.storage.blob.location import BlobLocation

#: Seconds between two looks at a log that does not grow, and between two questions to the service meanwhile.
_POLL_S, _ASK_S = (0.2, 3.0), 15.0
#: Seconds that a service has to end a job.
_END_S = 300.0
#: Seconds that another client's start of the same run is waited for; its lock ends by itself after a minute.
_STARTING_S = 90.0


@dataclass(frozen=True)
class Job:
    """How a service says that a job is; `note` says in words why it has ended."""

    state: Literal["queued", "running", "ended"]
    note: str = ""


class Service(Protocol):
    """A service that runs jobs. Every call may raise a LoadcastError."""

    @property
    def name(self) -> str:
        """What people call it, and its address."""

    def facts(self) -> dict[str, str]:
        """What it has that scripts may need, by name."""

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Make an environment, unless it is there: then False."""

    def submit(self, run: str, script: BlobLocation, arguments: list[str], request: Mapping[str, Any]) -> str:
        """Begin a job that runs our script with these arguments; returns the service's name for it."""

    def find(self, run: str) -> str | None:
        """The service's name for a run's job that was asked for earlier; None where there is none."""

    def job(self, job: str) -> Job:
        """How a job is; one that the service does not know has ended."""

    def cancel(self, job: str) -> None:
        """Ask for a job's end; one that has ended does no harm."""


@dataclass(frozen=True)
class BlobRunner:
    """A service, the container that it shares with us, and what our script is told that it is (`kind`)."""

    service: Service
    store: BlobStore
    kind: str

    @property
    def name(self) -> str:
        """The service's."""
        return self.service.name

    def facts(self) -> dict[str, str]:
        """What the service has, and the container, which is looked into."""
        self.store.container.stat(f"{self.store.folder}/may-i")
        return {**self.service.facts(), "storage": str(self.store.location)}

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Make an environment, unless it is there."""
        return self.service.prepare(recipe, progress, say)

    def send(self, project: Path, files: Iterable[SnapshotFile]) -> int:
        """Upload the contents that the container lacks; returns how many bytes these have."""
        return self.store.send_files(project, files)

    def start(self, run: str, request: Mapping[str, Any], secrets: Mapping[str, str]) -> State:
        """Begin a job for a run, once, however often this is called; returns the run's state."""
        if secrets:
            raise ConfigError(f"{self.name}: found values of {', '.join(secrets)}, wanted secrets of a Key Vault.")
        known = self._state(run)
        if known is not None:
            return known
        self.store.put_request(run, request)
        script = self.store.send_bootstrap()
        arguments = [self.store.url, self.store.folder, run, self.kind]
        until = time.monotonic() + _STARTING_S
        while True:
            try:
                with self.store.starting(run):
                    return self._state(run) or self._begin(run, script, arguments, request)
            except OutputError:  # another is starting it, or was and has died
                known = self._state(run)
                if known is not None:
                    return known
                if time.monotonic() > until:
                    raise
            time.sleep(1)

    def _begin(self, run: str, script: BlobLocation, arguments: list[str], request: Mapping[str, Any]) -> State:
        job = None if self.store.first_attempt(run) else self.service.find(run)
        self.store.put_job(run, job or self.service.submit(run, script, arguments, request))
        return {"state": STARTING}

    def states(self, runs: Iterable[str]) -> dict[str, State | None]:
        """The states of runs; None for one that was never started."""
        return {run: self._state(run) for run in runs}

    def _state(self, run: str) -> State | None:
        ended = self.store.end(run)
        name = None if ended else self.store.job(run)
        if ended or name is None:
            return ended
        job = self.service.job(name)
        if job.state != "ended":
            return {"state": RUNNING if job.state == "running" else STARTING}
        note = job.note or "the job is gone"
        died: State = {"state": FAILED, "code": None, "end": time.time(), "error": f"{self.name}: {note}"}
        return self.store.put_end(run, died)  # unless our script has said how, before it ended

    def cancel(self, run: str) -> State:
        """End a run's job; returns its state when the service says that it has ended."""
        self.store.ask_to_end(run)
        until = time.monotonic() + _END_S
        name = self.store.job(run) or self.service.find(run)
        if name is not None:
            self.service.cancel(name)
            while self.service.job(name).state != "ended":
                if time.monotonic() > until:
                    raise EnvironmentNotReadyError(
                        f"{self.name} was asked to end the job {name}, and it goes on after {_END_S:.0f} s. Ask again."
                    )
                time.sleep(1)
        return self.store.put_end(run, {"state": CANCELLED, "code": None, "end": time.time()})

    def follow(self, run: str) -> Iterator[bytes]:
        """The log as it is written, to the run's end."""
        asked = time.monotonic()

        def is_over() -> bool:
            nonlocal asked
            if self.store.end(run) is not None:
                return True
            if time.monotonic() < asked + _ASK_S:
                return False
            asked, state = time.monotonic(), self._state(run)
            return state is None or state["state"] in ENDED

        return follow_parts(lambda index, _: self.store.piece(run, index), is_over, _POLL_S)

    def log_so_far(self, run: str) -> Iterator[bytes]:
        """The log as it is now, in parts."""
        return self.store.pieces(run)

    def collect(self, run: str, folder: Path) -> None:
        """Bring an ended run's files into a folder."""
        self.store.collect(run, folder)
