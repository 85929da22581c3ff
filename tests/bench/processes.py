"""Time and memory of a command with all its child processes, read from /proc."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Reading the proportional memory of a process of 1 GB takes 30 ms of a core, so it is read at new peaks, and at times
#: near the peak: one that a fork makes, whose pages are all shared, hides what comes after.
_NEW_PEAK, _NEAR_PEAK, _NEAR_PEAK_EVERY_S = 1.03, 0.8, 1.0


@dataclass(frozen=True)
class Measured:
    """Wall-clock seconds, the peak memory of all processes of the tree together in bytes, and what they printed.

    `resident_bytes` counts pages that forked workers share once for each of them: an upper bound.
    `proportional_bytes` counts each shared page once, read at peaks of the other and once a second near them; None
    where /proc does not tell it.
    """

    seconds: float
    resident_bytes: int
    proportional_bytes: int | None
    output: str


def measure(command: list[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end, with `environment` on top of ours.

    Raises CalledProcessError with its output if it fails.
    """
    begin = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        peak = _Peak()
        while not _ended(process):
            peak.look(process.pid)
        seconds = time.monotonic() - begin
        reader.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, "".join(said))
    return Measured(seconds, peak.resident, peak.proportional, "".join(said))


def _ended(process: subprocess.Popen[str]) -> bool:
    """Whether the process ends within the time between two looks at its memory."""
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


class _Peak:
    """The largest memory seen of a process and all below it."""

    def __init__(self) -> None:
        self.resident = 0
        self.proportional: int | None = None
        self._resident_then = 0
        self._read_at = 0.0

    def look(self, root: int) -> None:
        tree = _tree(root)
        resident = sum(tree.values())
        self.resident = max(self.resident, resident)
        is_late = time.monotonic() > self._read_at + _NEAR_PEAK_EVERY_S
        if resident > self._resident_then * (_NEAR_PEAK if is_late else _NEW_PEAK):
            self._resident_then, self._read_at = max(resident, self._resident_then), time.monotonic()
            parts = [_proportional_bytes(process) for process in tree]
            known = [part for part in parts if part is not None]
            if known:
                self.proportional = max(self.proportional or 0, sum(known))


def _tree(root: int) -> dict[int, int]:
    """Resident bytes of a process and of each below it, by process number."""
    resident: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The command name, in parentheses, may hold anything; the fields come after it.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        resident[int(entry.name)] = int(fields[21]) * _PAGE_BYTES
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree, waiting = {}, [root]
    while waiting:
        process = waiting.pop()
        tree[process] = resident.get(process, 0)
        waiting += children.get(process, [])
    return tree


def _proportional_bytes(process: int) -> int | None:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile, or we may not read it
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
