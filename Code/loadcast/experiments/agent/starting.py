"""Starting a run: its folder, all or nothing, and its keeper, once."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Mapping
from typing import Any

from .blobs import place_blob
from .keeper import keep
from .state import CANCELLED, FAILED, STARTING, State, known_state, lock, open_lock, run_folder, write_json, write_state

#: Seconds that another process has to say that it has started the same run.
_PATIENCE_S = 10.0


def start_run(base: str, run: str, request: dict[str, Any], secrets: Mapping[str, str]) -> State:
    """Start a run; returns its state. One that has been started already is left as it is.

    `request`: {"argv": [WORD…], "environment": {NAME: WORD}, "onCancel": [[WORD…]…], "graceS": 10,
    "entries": [[path, sha256, executable]…]}. A WORD is a text, or a list of texts and of {"at": path}, which stand for
    paths below BASE; "@run" there is the run's own folder.
    """
    folder = run_folder(base, run)
    if not os.path.isdir(folder):
        _make(base, folder, request)
    descriptor = open_lock(folder)
    until = time.monotonic() + _PATIENCE_S
    try:
        while known_state(folder)["state"] == STARTING and time.monotonic() < until:
            if not lock(descriptor):  # another is starting it, or looks whether one is
                time.sleep(0.05)
            elif os.path.exists(os.path.join(folder, "cancel")):
                write_state(folder, state=CANCELLED, end=time.time())
            elif known_state(folder)["state"] == STARTING:
                _fork_keeper(base, folder, secrets)
    finally:
        os.close(descriptor)
    return known_state(folder)


def _make(base: str, folder: str, request: dict[str, Any]) -> None:
    """Make a run's folder, with its working directory."""
    making = os.path.join(os.path.dirname(folder), f".{os.path.basename(folder)}-{os.getpid()}")
    work = os.path.join(making, "work")
    os.makedirs(work, mode=0o700)
    try:
        for path, name, executable in request["entries"]:
            place_blob(base, name, work, path, executable)
        for name in ("outputs", "logs"):
            os.makedirs(os.path.join(work, name), exist_ok=True)
        write_json(os.path.join(making, "request.json"), request)
        write_state(making, state=STARTING)
        with open(os.path.join(making, "log"), "ab"):
            pass
        os.rename(making, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another has made it meanwhile
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _fork_keeper(base: str, folder: str, secrets: Mapping[str, str]) -> None:
    """Fork the run's keeper, which has the lock with us and keeps it; returns when it has begun, or is gone."""
    heard, said = os.pipe()
    child = os.fork()
    if child:
        os.close(said)
        os.waitpid(child, 0)
        with os.fdopen(heard, "rb") as pipe:
            pipe.read()
        return
    try:
        os.setsid()
        if not os.fork():
            _redirect(os.path.join(folder, "keeper.log"))
            keep(base, folder, secrets, lambda: os.close(said))
    except BaseException as error:
        write_state(folder, state=FAILED, code=None, end=time.time(), error=str(error)[:500])
    finally:
        os._exit(0)  # and the lock is free


def _redirect(log: str) -> None:
    """Let go of the connection's streams."""
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(out)
