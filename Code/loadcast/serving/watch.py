"""A process beside the service that looks for a newer model, and tells of one only once it has loaded and passed."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from loadcast import paths
from loadcast.errors import LoadcastError
from loadcast.logs.events import MODEL, log_event
from loadcast.serving.bundle import bundle_folder
from loadcast.serving.predictor import Predictor

#: Seconds between two looks; a model that was refused is tried again after so many of them.
LOOK_EVERY_S = 1.0
_TRY_AGAIN_LOOKS = 10
_MAX_BYTES = 1 << 16
Identity = tuple[str, int, int, int]


class Watcher:
    """Watches what `find` gives: the folder of a bundle or of an output, which it may fetch first. Forks.

    `served` is the folder of the bundle that is served now.
    """

    def __init__(self, find: Callable[[], Path], served: Path, every_s: float = LOOK_EVERY_S) -> None:
        self._find, self._every_s = find, every_s
        self._served = _identity(served)
        self._told = -1

    def newer(self) -> Path | None:
        """The folder of a newer model, once it has passed; to be asked now and then by the process that serves."""
        if self._told < 0:
            self._start()
        try:
            said = os.read(self._told, _MAX_BYTES)
        except BlockingIOError:
            return None
        if not said:  # the process has ended, whatever ended it
            os.close(self._told)
            self._told = -1
            return None
        folder = Path(os.fsdecode(said.rstrip(b"\0").rpartition(b"\0")[2]))
        self._served = _identity(folder)
        return folder

    def _start(self) -> None:
        self._told, tells = os.pipe()
        os.set_blocking(self._told, False)
        parent = os.getpid()
        if os.fork():
            os.close(tells)
            return
        try:
            os.close(self._told)
            for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGCHLD):
                signal.signal(signum, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._look_on(tells, parent)
        finally:
            os._exit(0)

    def _look_on(self, tells: int, parent: int) -> None:
        served, refused, newest, looks = self._served, None, None, 0
        while os.getppid() == parent:
            time.sleep(self._every_s)
            looks += 1
            try:
                folder = bundle_folder(self._find())
                newest = _identity(folder)
                if newest == served or (newest == refused and looks % _TRY_AGAIN_LOOKS):
                    continue
                Predictor.load(folder)
            except (LoadcastError, OSError) as error:
                if newest != refused:
                    message = "A newer model cannot be served; the one from before still answers."
                    log_event(MODEL, logging.WARNING, "model", message, why=str(error))
                refused = newest
            else:
                os.write(tells, os.fsencode(folder) + b"\0")
                served = newest


def _identity(folder: Path) -> Identity:
    """What differs between two models; an output's link leads to another folder then. Raises OSError, ArtefactError."""
    resolved = bundle_folder(folder)
    state = os.stat(resolved / paths.INFO)
    return str(resolved), state.st_ino, state.st_size, state.st_mtime_ns
