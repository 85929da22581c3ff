"""Time and memory of a command with all its child processes, read from /proc."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Measured:
    """Wall-clock seconds and the peak of the resident memory of all processes together, in bytes."""

    seconds: float
    peak_bytes: int


def measure(command: list[str], cwd: Path) -> Measured:
    """Run a command to its end; raises CalledProcessError with its output if it fails."""
    begin = time.monotonic()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        peak = 0
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process.pid))
            time.sleep(_POLL_SECONDS)
        reader.join()
    seconds = time.monotonic() - begin
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, "".join(said))
    return Measured(seconds, peak)


def _tree_bytes(root: int) -> int:
    """Resident memory of a process and all below it.

    Pages that forked workers share count once for each: an upper bound.
    """
    resident: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The command name, in parentheses, may hold anything; the fields come after it.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        resident[int(entry.name)] = int(fields[21]) * _PAGE_BYTES
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        total += resident.get(process, 0)
        waiting += children.get(process, [])
    return total
