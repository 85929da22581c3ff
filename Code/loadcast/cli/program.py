"""How every command is started: signals first, then what it imports."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def run(module: str, command: str, name: str | None = None) -> None:
    """Run a command of a module under loadcast.cli as this program; `name` stands in its help, the script's unless set.

    A SIGINT, SIGTERM or SIGHUP ends the process with one line, from here on; see signals.py.
    """
    _end_at_first_signal()
    import importlib

    from loadcast.system import signals

    with signals.handled(_remove_temporary_folders):
        getattr(importlib.import_module(f"loadcast.cli.{module}"), command)(prog_name=name)


def main() -> None:
    """The `loadcast` command."""
    run("main", "main", "loadcast")


def _end_at_first_signal() -> None:
    """What ends a process that has started nothing yet, until signals.py is imported."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _end)


def _end(signum: int, frame: FrameType | None) -> None:
    os.write(2, f"loadcast: Stopped by {signal.Signals(signum).name}; nothing was published.\n".encode())
    os._exit(128 + signum)


def _remove_temporary_folders() -> None:
    temporary = sys.modules.get("loadcast.system.temporary")  # where it is not, there are none
    if temporary is not None:
        temporary.remove_own()
