"""Processes below this one, wherever their own parents have gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from contextlib import suppress

_SUBREAPER, _DEATH_SIGNAL = 36, 1  # of prctl(2)
#: Seconds to end when asked, before they are made to.
_GRACE_S = 2.0


def adopt_orphans() -> None:
    """Become the parent of processes whose own parents end, so that none is out of sight."""
    _prctl(_SUBREAPER, 1)


def end_with_parent() -> None:
    """Let this process be killed when the one that has started it ends."""
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)


def end_descendants() -> None:
    """End all processes below this one; the stubborn are killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _GRACE_S
        while number == signal.SIGKILL or time.monotonic() < until:
            left = _descendants(os.getpid())
            _reap()
            if not left:
                return
            for process in left:
                send_signal(process, number)
            time.sleep(0.05)


def exit_code(code: int) -> int:
    """The exit code of a process, a signal that has ended it as a shell would say it."""
    return 128 - code if code < 0 else code


def send_signal(process: int, number: int) -> None:
    """Send a signal to a process, which may be gone; a negative number is a group."""
    with contextlib.suppress(OSError):
        os.kill(process, number)


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):  # not a Linux: there, what leaves the script's group is not found
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _descendants(root: int) -> set[int]:
    """The processes below one; those that have ended are left out."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in (b"Z", b"X"):
            parents[int(name)] = int(parent)
    known: set[int] = {root}
    more: set[int] = {root}
    while more:
        more = {process for process, parent in parents.items() if parent in known} - known
        known |= more
    return known - {root}
