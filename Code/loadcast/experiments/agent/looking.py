"""Runs looked at from outside: states, logs, results, and their end."""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import tarfile
import time
from collections.abc import Iterable
from typing import BinaryIO

from .processes import send_signal
from .request import Request
from .state import (
    CANCELLED,
    ENDED,
    LOST,
    RUNNING,
    Refused,
    State,
    is_locked,
    known_state,
    run_folder,
    state_of,
    write_state,
)

#: Seconds that a cancelled run has to end, all of it.
_END_S = 60.0
_BLOCK = 1 << 16
_POLL_S = (0.02, 0.5)
_FILES = ("log", "logged.jsonl", "state.json", "keeper.log")
_FOLDERS = ("outputs", "logs")


def states(base: str, runs: Iterable[str]) -> dict[str, State | None]:
    """The states of runs, or of all where none is named; None for one that is not here."""
    folder = os.path.join(base, "runs")
    names = list(runs) or sorted(os.listdir(folder) if os.path.isdir(folder) else ())
    return {name: state_of(run_folder(base, name)) for name in names if not name.startswith(".")}


def follow_log(base: str, run: str, offset: int, out: BinaryIO) -> None:
    """Write the log from a byte on, as it grows, to the run's end. Raises BrokenPipeError when nobody reads it."""
    folder = run_folder(base, run)
    known_state(folder)
    pause = _POLL_S[0]
    with open(os.path.join(folder, "log"), "rb") as log:
        log.seek(offset)
        while True:
            ended = known_state(folder)["state"] in ENDED  # first: what is written before the end is read after
            block = log.read(_BLOCK)
            if block:
                out.write(block)
                out.flush()
                pause = _POLL_S[0]
            elif ended:
                return
            elif _is_deaf(out.fileno(), pause):
                raise BrokenPipeError
            else:
                pause = min(2 * pause, _POLL_S[1])


def copy_log(base: str, run: str, offset: int, out: BinaryIO) -> None:
    """Write the log from a byte on, as it is now."""
    folder = run_folder(base, run)
    known_state(folder)
    with open(os.path.join(folder, "log"), "rb") as log:
        log.seek(offset)
        shutil.copyfileobj(log, out)


def _is_deaf(descriptor: int, seconds: float) -> bool:
    """Whether nobody reads a pipe any more; waits for some seconds."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(seconds * 1000))


def cancel_run(base: str, run: str) -> State:
    """End a run; returns its state when nothing of it is left."""
    folder = run_folder(base, run)
    known_state(folder)
    with open(os.path.join(folder, "cancel"), "a"):
        pass
    until = time.monotonic() + _END_S
    while time.monotonic() < until:
        state = known_state(folder)
        if state["state"] in ENDED:
            break
        if state["state"] == RUNNING:
            send_signal(state["keeper"], signal.SIGTERM)  # it lives: its lock is held
        elif not is_locked(folder):  # started by nobody, and by nobody from now on
            write_state(folder, state=CANCELLED, end=time.time())
        time.sleep(0.1)
    state = known_state(folder)
    if state["state"] == LOST:  # what it had started elsewhere may go on
        with open(os.path.join(folder, "log"), "ab", 0) as log:
            Request(base, folder).end_elsewhere(log)
    return state


def collect_run(base: str, run: str, out: BinaryIO) -> None:
    """A tar of what the run has made: its log, what it logged, outputs/ and logs/; files only."""
    folder = run_folder(base, run)
    known_state(folder)
    with tarfile.open(fileobj=out, mode="w|") as archive:
        for name in _FILES:
            _add(archive, os.path.join(folder, name), name)
        for part in _FOLDERS:
            work = os.path.join(folder, "work")
            for parent, folders, files in os.walk(os.path.join(work, part)):
                folders.sort()
                for name in sorted(files):
                    path = os.path.join(parent, name)
                    _add(archive, path, os.path.relpath(path, work))


def _add(archive: tarfile.TarFile, path: str, name: str) -> None:
    """Add a file as long as it is now; links and devices are left out."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if stat.S_ISREG(about.st_mode):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = about.st_size, int(about.st_mtime), 0o644
            archive.addfile(member, file)


def remove_run(base: str, run: str) -> None:
    """Remove an ended run's folder. Raises Refused for one that goes on, or that has files of other users."""
    folder = run_folder(base, run)
    state = state_of(folder)
    if state is not None and state["state"] not in ENDED:
        raise Refused(f"{run} is {state['state']}: cancel it first")
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.exists(folder):
        raise Refused(f"{folder} cannot be removed whole: files in it belong to another user, such as a container's")
