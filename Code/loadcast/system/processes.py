"""The processes that this one has started, directly or through others, and how all of them are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_PROCESSES = Path("/proc")
_POLL_S = 0.02
_DEATH_S = 3.0


def descendants(of: int | None = None) -> set[int]:
    """Ids of the running processes that descend from one (None: from this one), which itself is not among them."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    waiting, known = [os.getpid() if of is None else of], set[int]()
    while waiting:
        fresh = [pid for pid in children.get(waiting.pop(), ()) if pid not in known]
        known.update(fresh)
        waiting += fresh
    return known


def end_descendants(grace_s: float = 0.0, hurry: Callable[[], bool] = lambda: False) -> None:
    """End all processes that descend from this one; returns when they are gone, or after some seconds.

    With `grace_s` the children are asked first, and have that long to leave, unless `hurry` says otherwise: it is
    called over and over. Then all are stopped before any is killed, so that none starts another meanwhile.
    """
    if grace_s > 0:
        _send(signal.SIGTERM, descendants())
        _wait_until(lambda: hurry() or not descendants(), grace_s)
    stopped: set[int] = set()
    while fresh := descendants() - stopped:
        _send(signal.SIGSTOP, fresh)
        stopped |= fresh
    _send(signal.SIGKILL, stopped)
    _wait_until(lambda: not stopped & _running(), _DEATH_S)


def _wait_until(condition: Callable[[], bool], limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end_s:
        time.sleep(_POLL_S)


def _send(signum: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(OSError):  # it has ended
            os.kill(pid, signum)


def _running() -> set[int]:
    return {pid for pid, _ in _parents()}


def _parents() -> list[tuple[int, int]]:
    """(process, its parent) of all processes that run; those that have ended, and are only to be asked how, do not."""
    if not (_PROCESSES / "self" / "stat").exists():
        return _parents_by_ps()
    pairs = []
    for name in filter(str.isdigit, os.listdir(_PROCESSES)):
        with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            # The program's name stands in brackets, and may hold any sign.
            state, parent = (_PROCESSES / name / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state not in (b"Z", b"X"):
                pairs.append((int(name), int(parent)))
    return pairs


def _parents_by_ps() -> list[tuple[int, int]]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=False)
    rows = [line.split() for line in listing.stdout.splitlines()]
    return [(int(row[0]), int(row[1])) for row in rows if len(row) == 3 and not row[2].startswith("Z")]
