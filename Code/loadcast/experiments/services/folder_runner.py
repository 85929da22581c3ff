"""Runs on a service that mounts their files as a folder: what it says of its jobs, and what the runs' own files say."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loadcast.errors import EnvironmentNotReadyError, LoadcastError
from loadcast.experiments.agent.state import CANCELLED, COMPLETED, ENDED, FAILED, STARTING, State
from loadcast.experiments.runner import Recipe, Say
from loadcast.experiments.services.folder_files import (
    ServiceFiles,
    collect_files,
    environment_path,
    read_json,
    read_log,
    read_log_parts,
    run_path,
    script_request,
    send_archive,
    write_json,
)
from loadcast.experiments.services.log_and_results import follow_parts
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.progress import Progress

#: Seconds between two looks at a log that does not grow.
POLL_S = (0.2, 5.0)
#: Seconds that a cancelled run has to end.
_END_S = 180.0


class ServiceJobs(Protocol):
    """The jobs of a service, by its own names for them."""

    def facts(self) -> dict[str, str]:
        """What the service has that scripts may need, by name."""

    def find(self, run: str) -> str | None:
        """The job that a run was submitted as, whoever did so; None where there is none."""

    def keep_secrets(self, run: str, secrets: Mapping[str, str]) -> dict[str, str]:
        """Put a run's variables where only the service's own keeper of secrets has them; returns where."""

    def forget_secrets(self, run: str) -> None:
        """Remove them; they may be gone already."""

    def submit(self, run: str, request: Mapping[str, Any]) -> str:
        """Submit a run as a job, once, however often this is called; returns its name."""

    def state(self, job: str) -> State:
        """The state of a job. It has no exit code."""

    def cancel(self, job: str) -> None:
        """Ask for a job's end, which may take a while; nothing happens to one that has ended."""


@dataclass(frozen=True)
class FolderRunner:
    """A Runner of scripts on such a service.

    What a script's exit code was, only its own files say; what the service says counts where these say nothing.
    """

    name: str
    files: ServiceFiles
    jobs: ServiceJobs

    def facts(self) -> dict[str, str]:
        """What the service has."""
        return self.jobs.facts()

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Write down the packages that jobs install as they begin, unless that was done."""
        path = environment_path(recipe.name)
        if self.files.exists(path):
            return False
        lines = "".join(f"{line}\n" for line in recipe.spec["requirements"]).encode()
        with progress(f"Writing down the environment {recipe.name[:12]} for {self.name}"):
            self.files.write(path, io.BytesIO(lines))
        say(lines)
        return True

    def send(self, project: Path, files: Iterable[SnapshotFile]) -> int:
        """Send the project's contents, unless the service has these."""
        return send_archive(self.files, project, [*files])

    def start(self, run: str, request: Mapping[str, Any], secrets: Mapping[str, str]) -> State:
        """Submit a run, once, however often this is called; returns its state."""
        record = self._record(run)
        if record is None:
            where = self.jobs.keep_secrets(run, secrets) if secrets else None
            write_json(self.files, run_path(run, "request.json"), script_request(request, where))
            record = self._keep(run, self._submitted(run, request, bool(secrets)), has_secrets=bool(secrets))
        return self._state(run, record)

    def _submitted(self, run: str, request: Mapping[str, Any], has_secrets: bool) -> str:
        try:
            return self.jobs.submit(run, request)
        except LoadcastError:
            if has_secrets and self.jobs.find(run) is None:
                self.jobs.forget_secrets(run)
            raise

    def states(self, runs: Iterable[str]) -> dict[str, State | None]:
        """The states of runs; None for one that was never submitted."""
        records = {run: self._record(run) for run in runs}
        return {run: self._state(run, record) if record else None for run, record in records.items()}

    def cancel(self, run: str) -> State:
        """End a run; returns its state when the service has nothing of it left.

        Raises EnvironmentNotReadyError where that takes too long.
        """
        record = self._record(run)
        if record is None:
            self.jobs.forget_secrets(run)
            return State(state=CANCELLED, end=time.time())
        pause, until = POLL_S[0], time.monotonic() + _END_S
        if self._state(run, record)["state"] not in ENDED:
            self.jobs.cancel(record["job"])
        while (state := self._state(run, record))["state"] not in ENDED:
            if time.monotonic() > until:
                raise EnvironmentNotReadyError(
                    f"{self.name} was asked to end run {run}, and is still at it. Ask again."
                )
            time.sleep(pause)
            pause = min(2 * pause, POLL_S[1])
        return state

    def follow(self, run: str) -> Iterator[bytes]:
        """The log as it is written, to the run's end."""
        state: State | None = None
        is_empty = True

        def is_over() -> bool:
            nonlocal state
            state = self.states([run])[run]
            return state is None or state["state"] in ENDED

        for part in follow_parts(lambda _, offset: read_log(self.files, run, offset), is_over, POLL_S):
            is_empty = False
            yield part
        if is_empty and (said := self._said(state)):
            yield said

    def log_so_far(self, run: str) -> Iterator[bytes]:
        """The log as it is now, in parts."""
        return read_log_parts(self.files, run)

    def collect(self, run: str, folder: Path) -> None:
        """Bring an ended run's files into a folder."""
        collect_files(self.files, run, folder)
        log = folder / "log"
        if not log.stat().st_size:
            log.write_bytes(self._said(self.states([run])[run]))

    def _said(self, state: State | None) -> bytes:
        """What the service says of a run whose script said nothing, as one whose cluster did not start."""
        error = state.get("error") if state and state["state"] == FAILED else None
        return f"{self.name}: {error}\n".encode() if error else b""

    def _record(self, run: str) -> dict[str, Any] | None:
        """By which name the service knows a run; found at the service where its client ended too early to say."""
        record = read_json(self.files, run_path(run, "job.json"))
        if record is None and self.files.exists(run_path(run, "request.json")):
            job = self.jobs.find(run)
            record = self._keep(run, job, has_secrets=True) if job else None
        return record

    def _keep(self, run: str, job: str, has_secrets: bool) -> dict[str, Any]:
        record = {"job": job, "secrets": has_secrets}
        write_json(self.files, run_path(run, "job.json"), record)
        return record

    def _state(self, run: str, record: dict[str, Any]) -> State:
        end = self._end(run)
        state = end or self.jobs.state(record["job"])
        if end is None and state["state"] in ENDED:  # it may have been written between the two looks
            state = self._end(run) or state
        if record["secrets"] and (state["state"] in ENDED or self._has_begun(run, state)):
            self.jobs.forget_secrets(run)
            record["secrets"] = False
            self._keep(run, record["job"], has_secrets=False)
        return state

    def _end(self, run: str) -> State | None:
        """How the script ended, where it did so by itself."""
        end = read_json(self.files, run_path(run, "end.json"))
        if end is None or end["code"] is None:
            return None
        return State(state=FAILED if end["code"] else COMPLETED, code=end["code"], start=end["start"], end=end["end"])

    def _has_begun(self, run: str, state: State) -> bool:
        """Whether a run has read its secrets."""
        return state["state"] != STARTING and self.files.exists(run_path(run, "begun.json"))
