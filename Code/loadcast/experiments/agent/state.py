"""The folder of a run, its lock and its state."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, TypedDict

STARTING, RUNNING, COMPLETED, FAILED, CANCELLED, LOST = (
    "starting",
    "running",
    "completed",
    "failed",
    "cancelled",
    "lost",
)
ENDED = (COMPLETED, FAILED, CANCELLED, LOST)
#: Seconds between two looks whether a lock is free.
_PAUSE_S = 0.5


class State(TypedDict, total=False):
    """A run's state: its name, the script's exit code, seconds since 1970, the keeper's process, what went wrong."""

    state: str
    code: int | None
    start: float
    end: float
    keeper: int
    error: str


class Refused(Exception):
    """What is asked for cannot be done; the message says why."""


def run_folder(base: str, run: str) -> str:
    """The folder of a run. Raises Refused for a name that is a path."""
    if not run or run.startswith(".") or set(run) & set("/\0"):
        raise Refused(f"{run!r}: wanted the id of a run")
    return os.path.join(base, "runs", run)


def below(folder: str, path: str) -> str:
    """A path below a folder. Raises Refused for one that leads out of it."""
    parts = path.split("/")
    if "\0" in path or {"", ".", ".."} & set(parts):
        raise Refused(f"{path!r}: wanted a path that stays inside its folder")
    return os.path.join(folder, *parts)


def write_below(folder: str, path: str, content: IO[bytes]) -> None:
    """Write a file to a path below a folder. Raises Refused for a path that leads out of it."""
    target = below(folder, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        shutil.copyfileobj(content, file)


def state_of(folder: str) -> State | None:
    """A run's state; None where there is no run. A run whose keeper is gone, and has not said how it ended, is lost."""
    path = os.path.join(folder, "state.json")
    if not os.path.isfile(path):
        return None
    state: State = read_json(path)
    if state["state"] == RUNNING and not is_locked(folder):
        state = read_json(path)  # it may have ended between the two looks
        if state["state"] == RUNNING:
            state["state"] = LOST
    return state


def known_state(folder: str) -> State:
    """As state_of. Raises Refused where there is no run."""
    state = state_of(folder)
    if state is None:
        raise Refused(f"{os.path.basename(folder)}: there is no such run here")
    return state


def write_state(folder: str, **changed: Any) -> None:
    """Replace the state as a whole; what is not named stays."""
    path = os.path.join(folder, "state.json")
    write_json(path, {**(read_json(path) if os.path.exists(path) else {}), **changed})


def open_lock(folder: str) -> int:
    """The descriptor of a run's lock, which scripts do not inherit."""
    return open_lock_file(os.path.join(folder, "lock"))


def open_lock_file(path: str) -> int:
    """The descriptor of a file that is there to be locked; it is made, and not inherited."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def lock(descriptor: int, shared: bool = False) -> bool:
    """Take a lock, if nobody else has it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock beside a path, waited for as long as it takes; the path's folder is made."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = open_lock_file(f"{path}.lock")
    try:
        while not lock(descriptor):
            time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: str) -> bool:
    """Whether a run's keeper, or who is starting it, lives."""
    descriptor = open_lock(folder)
    try:
        return not lock(descriptor, shared=True)  # shared, so that two who look do not take each other for a keeper
    finally:
        os.close(descriptor)


def read_json(path: str) -> Any:
    """The content of a JSON file of ours."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write_json(path: str, content: Any) -> None:
    """Replace a JSON file as a whole."""
    making = f"{path}.{os.getpid()}"
    with open(making, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(making, path)
