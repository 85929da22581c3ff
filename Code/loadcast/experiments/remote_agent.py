"""The agent on a machine: sent there when it is missing, asked again when the connection was lost."""

from __future__ import annotations

import io
import json
import logging
import shlex
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loadcast.errors import ArtefactError, EnvironmentNotReadyError
from loadcast.experiments.agent.state import COMPLETED, State
from loadcast.experiments.agent_file import agent_file
from loadcast.experiments.locations import blob_path
from loadcast.experiments.machine_facts import facts_of
from loadcast.experiments.machines import CommandFailed, ConnectionLost, Machine, raise_for, run_on
from loadcast.experiments.plan import AGENT, Plan
from loadcast.experiments.runner import Recipe, Say
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.progress import Progress
from loadcast.secrets import shown

Answer = TypeVar("Answer")
#: Seconds that a lost machine is waited for, and the pauses between two tries.
PATIENCE_S = 300.0
_PAUSES_S = (0.5, 15.0)
_READ_BYTES = 1 << 16
#: The exit code that says that the agent is not there; its own are 0, 1 and 2.
_MISSING = 90
_LOG = logging.getLogger("loadcast.experiments")


@dataclass(frozen=True)
class Agent:
    """The agent on a machine, with its files below `base`, a path there (`~` is the user's home).

    It is sent when a command finds that it is missing. `owner` is the project that what is put there belongs to, as
    others may share the machine.
    """

    machine: Machine
    base: str
    python: str = "python3"
    owner: str = ""
    patience_s: float = PATIENCE_S

    @property
    def name(self) -> str:
        """The machine's."""
        return self.machine.name

    def facts(self) -> dict[str, str]:
        """What the machine has."""
        return facts_of(self.machine, self.python)

    def prepare(self, recipe: Recipe, progress: Progress, say: Say) -> bool:
        """Make an environment as a run of the agent's own, unless it is there.

        Raises EnvironmentNotReadyError with what was said there.
        """
        name, spec = recipe.name, json.dumps(dict(recipe.spec))
        if self.call("prepared", name, spec, self.owner):
            return False
        run = f"prepare-{name[:12]}-{uuid.uuid4().hex[:6]}"
        with progress(f"Making the environment {name[:12]} on {self.name}"):
            self.start(run, Plan((*AGENT, "environment", name, spec)).request([]), {})
            said = bytearray()
            for block in self.follow(run):
                say(block)
                said += block[-4_000:]
        state = self.states([run])[run]
        if state is None or state["state"] != COMPLETED:
            lines = said.decode("utf-8", "replace").strip().splitlines()
            raise EnvironmentNotReadyError(
                f"The environment was not made on {self.name}: {shown(lines[-1]) if lines else 'it said nothing'}"
            )
        return True

    def _install(self) -> None:
        """Send the agent's file. Raises EnvironmentNotReadyError where Python is missing or too old."""
        name, content = agent_file()
        script = (
            f"{shlex.quote(self.python)} -c 'import sys; sys.exit(sys.version_info < (3, 8))' || exit 3; umask 077; "
            f'base={_home(self.base)}; new=$base/.{name}.$$; mkdir -p "$base/runs" && cat > "$new" || exit 1; '
            # Whoever sends it may end on the way, and so may the connection.
            f'[ "$(wc -c < "$new")" -eq {len(content)} ] || {{ rm -f "$new"; echo "it came in part" >&2; exit 1; }}; '
            f'mv "$new" "$base/{name}"'
        )
        try:
            self._ask(lambda: run_on(self.machine, ["sh", "-c", script], content))
        except EnvironmentNotReadyError as error:
            raise EnvironmentNotReadyError(
                f"{error} Wanted there: {self.python} as Python 3.8 or newer, and a folder {self.base} to write to."
            ) from error

    def call(self, command: str, *arguments: str, stdin: bytes = b"") -> Any:
        """A command's answer."""
        words = self._words(command, arguments)
        try:
            answer = self._ask(lambda: run_on(self.machine, words, stdin))
        except CommandFailed as error:
            if error.code != _MISSING:
                raise
            self._install()
            answer = self._ask(lambda: run_on(self.machine, words, stdin))
        return json.loads(answer)

    def send(self, project: Path, files: Iterable[SnapshotFile]) -> int:
        """Send the contents that the machine lacks; returns how many bytes these have."""
        sizes = {file.sha256: file.size for file in files}
        missing = self.call("missing", stdin=json.dumps(sorted(sizes)).encode())
        if missing:
            packed = _pack(project, missing)
            self.call("receive", stdin=packed)
        return sum(sizes[name] for name in missing)

    def start(self, run: str, request: Mapping[str, Any], secrets: Mapping[str, str]) -> State:
        """Start a run, once, however often this is called; returns its state."""
        asked = {"request": {**request, "project": self.owner}, "secrets": secrets}
        state: State = self.call("start", run, stdin=json.dumps(asked).encode())
        return state

    def states(self, runs: Iterable[str]) -> dict[str, State | None]:
        """The states of runs; None for one that was never started here."""
        names = list(runs)
        states: dict[str, State | None] = self.call("status", *names) if names else {}
        return states

    def cancel(self, run: str) -> State:
        """End a run."""
        state: State = self.call("cancel", run)
        return state

    def remove(self, run: str) -> None:
        """Remove the folder of an ended run, if there is one. Raises CommandFailed for one that goes on."""
        self.call("remove", run)

    def prune(self, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What nothing there needs, as agent.removing.prune has it."""
        removed: list[dict[str, Any]] = self.call("prune", stdin=json.dumps({**asked, "owner": self.owner}).encode())
        return removed

    def follow(self, run: str) -> Iterator[bytes]:
        """The log as it is written, to the run's end, whatever happens to the connection."""
        return self._log("follow", run)

    def log_so_far(self, run: str) -> Iterator[bytes]:
        """The log as it is now."""
        return self._log("log", run)

    def _log(self, command: str, run: str) -> Iterator[bytes]:
        offset = 0
        since: float | None = None
        while True:
            try:
                for block in self._stream(self._words(command, [run, str(offset)])):
                    offset, since = offset + len(block), None
                    yield block
            except ConnectionLost as error:
                since = since or time.monotonic()
                self._wait_again(error, since, time.monotonic() - since)
            else:
                return

    def collect(self, run: str, folder: Path) -> None:
        """Bring a run's files into a folder. Raises ArtefactError for a damaged answer."""
        self._ask(lambda: self._extract(run, folder))

    def _extract(self, run: str, folder: Path) -> None:
        with tempfile.TemporaryFile(dir=folder) as packed:
            for block in self._stream(self._words("collect", [run])):
                packed.write(block)
            packed.seek(0)
            try:
                with tarfile.open(fileobj=packed) as archive:
                    archive.extractall(folder, filter="data")
            except (tarfile.TarError, EOFError) as error:
                raise ArtefactError(f"What {self.name} sent of run {run} is damaged: {error}. Ask again.") from error

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """A question's answer; asked again while the machine cannot be reached, for as long as the patience lasts."""
        since = time.monotonic()
        while True:
            try:
                return question()
            except ConnectionLost as error:
                self._wait_again(error, since, time.monotonic() - since)

    def _wait_again(self, error: ConnectionLost, since: float, waited: float) -> None:
        pause = min(max(_PAUSES_S[0], waited / 2), _PAUSES_S[1])
        if time.monotonic() + pause > since + self.patience_s:
            raise EnvironmentNotReadyError(
                f"{self.name} cannot be reached: {error}. Runs there go on; ask again when the network is back."
            ) from error
        _LOG.warning("No connection to %s (%s). Trying again.", self.name, error)
        time.sleep(pause)

    def _words(self, command: str, arguments: Sequence[str]) -> list[str]:
        """The command line on the machine; a shell there knows its home folder."""
        name, _ = agent_file()
        script = (
            f'base={_home(self.base)}; python=$1; shift; [ -e "$base/{name}" ] || exit {_MISSING}; '
            f'exec "$python" "$base/{name}" "$base" "$@"'
        )
        return ["sh", "-c", script, "sh", self.python, command, *arguments]

    def _stream(self, words: Sequence[str]) -> Iterator[bytes]:
        process = subprocess.Popen(
            self.machine.command(words),
            env=self.machine.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                while block := process.stdout.read1(_READ_BYTES):  # type: ignore[attr-defined]  # it is buffered
                    yield block
                code, errors = process.wait(), process.stderr.read()
            finally:
                process.kill()
        if code:
            raise_for(self.machine, code, errors)


def _home(base: str) -> str:
    """A path for a shell, in which a leading ~ is the home folder."""
    return f'"$HOME"{shlex.quote(base[1:])}' if base == "~" or base.startswith("~/") else shlex.quote(base)


def _pack(project: Path, names: Iterable[str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            archive.add(blob_path(project, name), name)
    return packed.getvalue()
