"""The target `local`: a service as a process of this machine, which goes on when whoever started it has ended.

A process is known by its number, when it was started, and the machine's start: numbers are used again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from loadcast.errors import ServiceError
from loadcast.registry.documents import Kept, Text, read_document, write_document
from loadcast.registry.manifests import MODEL, SERVICE
from loadcast.registry.service import Layout, Service, check_port, free_port, is_ready, wait_ready
from loadcast.serving.keys import KEY_VARIABLE
from loadcast.serving.looks import LOOK_EVERY_S

_PROC = Path("/proc")
#: Seconds for requests under way, before a service is killed.
_STOP_S, _DEATH_S = 40.0, 5.0
_PAUSE_S = 0.05
_LOG_BYTES = 1 << 20
_MAIN, _TRIAL = "service", "trial"
_STARTED_FIELD, _STATE_FIELD = 19, 0  # of /proc/PID/stat, after the program's name


class _Process(Kept):
    FILE: ClassVar[str] = "process.json"

    pid: Annotated[int, Field(ge=2)]
    started: Annotated[int, Field(ge=0)]
    boot: Text


class Local:
    """Services as processes of this machine. Limits of processors and memory are not enforced."""

    def key_owner(self) -> int | None:
        return None

    def start(self, service: Service, layout: Layout) -> None:
        check_port(service.host, service.port)
        self._run(service, layout, _MAIN)

    def stop(self, service: Service, layout: Layout) -> None:
        for role in (_TRIAL, _MAIN):
            self._end(layout, role)

    def state(self, service: Service, layout: Layout) -> str:
        if _running(layout, _MAIN) is None:
            return "stopped"
        return "ready" if is_ready(service.host, service.port) else "not ready"

    def log(self, service: Service, layout: Layout, lines: int) -> str:
        return tail(_log_file(layout, _MAIN), lines)

    def replace(self, old: Service, new: Service, layout: Layout) -> None:
        """Try the new one on another port, while the old one answers; then the port changes hands."""
        trial = new.changed(port=free_port(new.host))
        try:
            self._run(trial, layout, _TRIAL)
        finally:
            self._end(layout, _TRIAL)
        self._end(layout, _MAIN)
        try:
            self._run(new, layout, _MAIN)
        except ServiceError as error:
            self._run(old, layout, _MAIN)
            raise ServiceError(f"{error} The service runs as before.") from error

    def scaled(self, service: Service, number: int) -> Service:
        return service.changed(workers=number)

    def keys_changed(self, service: Service, layout: Layout) -> None:
        """Wait until each process of the service looks at its key file again when it is asked."""
        time.sleep(LOOK_EVERY_S)

    def _run(self, service: Service, layout: Layout, role: str) -> None:
        self._end(layout, role)  # a trial whose command was killed goes on
        log = _log_file(layout, role)
        begin = log.stat().st_size if log.exists() else 0
        pid = _spawn(_command(service, layout), log)
        identity = _identity(pid)
        if identity is not None:
            started, boot = identity
            write_document(_pid_file(layout, role), _Process(pid=pid, started=started, boot=boot))
        try:
            wait_ready(service.host, service.port, lambda: _running(layout, role) is None, lambda: tail(log, 50, begin))
        except BaseException:
            self._end(layout, role)
            raise

    def _end(self, layout: Layout, role: str) -> None:
        pid = _running(layout, role)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not _gone_within(_STOP_S, layout, role):
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                _gone_within(_DEATH_S, layout, role)
        _pid_file(layout, role).unlink(missing_ok=True)


def _gone_within(seconds: float, layout: Layout, role: str) -> bool:
    """Wait for the end of a process; returns whether it came."""
    deadline_s = time.monotonic() + seconds
    while _running(layout, role) is not None:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_PAUSE_S)
    return True


def tail(log: Path, lines: int, begin: int = 0) -> str:
    """The last lines of a file, of what was written from `begin` on; nothing where there is no file."""
    try:
        with log.open("rb") as file:
            file.seek(max(begin, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "".join(text.splitlines(keepends=True)[-lines:])


def _command(service: Service, layout: Layout) -> list[str]:
    """The script of the manifest, by this Python: it takes what `loadcast serve` takes."""
    manifest, folder = layout.manifest_of(service.manifest)
    return [
        *(sys.executable, str(folder / SERVICE / manifest.script)),
        *("--model", str(folder / MODEL)),
        *("--host", service.host, "--port", str(service.port)),
        *("--workers", str(service.workers), "--name", service.name),
        *("--key-file", str(layout.key_file)),
    ]


def _spawn(words: list[str], log: Path) -> int:
    """Start a process in a session of its own, with nothing of ours but the environment; returns its number."""
    environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(words[0], words, environment, file_actions=actions, setsid=True)


def _identity(pid: int) -> tuple[int, str] | None:
    """When a process was started, in ticks since which start of the machine; None for one that has ended."""
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return None
    if fields[_STATE_FIELD] not in (b"Z", b"X"):
        return int(fields[_STARTED_FIELD]), boot
    with suppress(ChildProcessError):  # ours to ask how it ended only where this very process has started it
        os.waitpid(pid, os.WNOHANG)
    return None


def _running(layout: Layout, role: str) -> int | None:
    """The number of the process, if it is still the one that was started."""
    known = read_document(_Process, _pid_file(layout, role))
    if known is None or _identity(known.pid) != (known.started, known.boot):
        return None
    return known.pid


def _pid_file(layout: Layout, role: str) -> Path:
    return layout.folder / f"{role}.pid.json"


def _log_file(layout: Layout, role: str) -> Path:
    return layout.folder / f"{role}.log"
