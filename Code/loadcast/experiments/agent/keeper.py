"""The process that runs a script, and sees to it that nothing of it is left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import IO

from .processes import adopt_orphans, end_descendants, end_with_parent, exit_code, send_signal
from .request import Request
from .state import CANCELLED, COMPLETED, FAILED, LOST, RUNNING, write_state

#: Seconds that a cancelled script has to end by itself.
GRACE_S = 10.0
_PAUSE_S = 0.2


def keep(base: str, folder: str, secrets: Mapping[str, str], begun: Callable[[], None]) -> None:
    """Run the script of a run's folder to its end; `begun` is called as soon as it runs. The caller holds the lock."""
    Keeper(base, folder, secrets, begun).run()


class Keeper:
    """One run; `secrets` are variables that stand in no file."""

    def __init__(self, base: str, folder: str, secrets: Mapping[str, str], begun: Callable[[], None]) -> None:
        self._folder, self._secrets, self._begun = folder, secrets, begun
        self._request = Request(base, folder)
        self._cancelled = False

    def run(self) -> None:
        """Run the script to its end, or to its cancellation, and say how it ended."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_cancel)
        adopt_orphans()
        write_state(self._folder, state=RUNNING, keeper=os.getpid(), start=time.time())
        self._cancelled |= os.path.exists(os.path.join(self._folder, "cancel"))
        with open(os.path.join(self._folder, "log"), "ab", 0) as log:
            code = None if self._cancelled else self._script(log)
            end_descendants()
            is_ended = self._request.end_elsewhere(log) if self._cancelled else True
        if not is_ended:
            error = "What it had started elsewhere could not be ended: cancel it again."
            write_state(self._folder, state=LOST, code=code, end=time.time(), error=error)
            return
        state = CANCELLED if self._cancelled else COMPLETED if code == 0 else FAILED
        write_state(self._folder, state=state, code=code, end=time.time())

    def _on_cancel(self, *_: object) -> None:
        self._cancelled = True

    def _script(self, log: IO[bytes]) -> int:
        """Start the script and wait for it; returns its exit code, as a shell would say it."""
        words = self._request.argv()
        try:
            process = subprocess.Popen(
                words,
                cwd=os.path.join(self._folder, "work"),
                env={**self._request.environment(), **self._secrets},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,  # there are no threads here
            )
        except OSError as error:
            log.write(f"{words[0]}: {error.strerror}\n".encode("utf-8", "replace"))
            return 126 if error.errno == errno.EACCES else 127
        finally:
            self._begun()
        return exit_code(self._wait(process))

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the script's end; a cancelled one is asked to end, and made to."""
        asked: float | None = None
        while True:
            try:
                return process.wait(timeout=_PAUSE_S)
            except subprocess.TimeoutExpired:
                pass
            if self._cancelled and asked is None:
                asked = time.monotonic()
                send_signal(-process.pid, signal.SIGTERM)
            elif asked is not None and time.monotonic() > asked + self._request.content.get("graceS", GRACE_S):
                send_signal(-process.pid, signal.SIGKILL)
