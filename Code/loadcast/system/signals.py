"""SIGINT, SIGTERM and SIGHUP: one line, exit code 128 + signal, and nothing left behind, at any moment of a command.

A thread hears of each signal at once, whatever the main thread does, and ends all processes that were started; what
the main thread waits for in them has then come to an end. The main thread raises Interrupted, so that whatever was
begun is cleaned up where it is known. An Interrupted that gets lost (weak references' callbacks swallow errors) does
no harm: the pointers of a run are written inside `committing`, which raises it again. A main thread that has not left
after some seconds is ended; so is one at a second signal, at once.

Whichever comes first, a signal or the writing of the pointers, decides: then the other has no effect.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from loadcast.system.processes import end_descendants

#: Seconds for the main thread to clean up. Docker kills 10 s after it has asked.
CLEAN_UP_S = 7.0
_CHILDREN_S = 8.0
#: A signal sent to the process and to its group as well is one signal.
_SAME_S = 0.2
_POLL_S = 0.02
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP, _PUBLISH, _DONE = "stop", "publish", "done"
_OVER = b"\0"
#: For a terminal that shows a bar, which hides the cursor: the line of the bar cleared, the cursor shown.
_CLEAR, _CURSOR = b"\r\x1b[2K", b"\r\x1b[2K\x1b[?25h"


class Interrupted(BaseException):
    """A signal asks the command to end. No Exception, so that nothing that goes on after errors goes on after it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class _Guard:
    """What is known of signals in this process, and the thread that hears of them."""

    def __init__(self, at_end: Callable[[], None]) -> None:
        self.at_end = at_end
        self.grace_s = 0.0
        # Whoever sets the one key first decides (setdefault is atomic): no lock could be held in a signal handler.
        self._fate: dict[str, str] = {}
        self._signum = int(signal.SIGINT)
        self._first_s = self._until_s = 0.0
        self._raised = False
        self._children_ended = False
        self._errors = os.dup(2)  # descriptor 2 is another file while Spark starts
        self._heard, self._hears = os.pipe()
        os.set_blocking(self._hears, False)
        self._thread = threading.Thread(target=self._listen, name="loadcast-signals", daemon=True)

    def start(self) -> None:
        # A signal waits until all is in its place: half of it would say two lines, or end with another exit code.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            signal.set_wakeup_fd(self._hears, warn_on_full_buffer=False)
            self.handle()
            self._thread.start()
            sys.excepthook = self._excepthook
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def handle(self) -> None:
        """Take the signals over, but for those that whoever started us wants ignored (nohup, jobs of scripts)."""
        for signum in _SIGNALS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._on_signal)

    def ignore(self) -> None:
        """For the last moments of the interpreter, which would give signals their default effect: all is done."""
        for signum in _SIGNALS:
            if signal.getsignal(signum) == self._on_signal:
                signal.signal(signum, signal.SIG_IGN)

    def settle(self, fate: str) -> bool:
        """Whether what is to be done can be: False where something else was decided before."""
        return self._fate.setdefault("fate", fate) == fate

    @property
    def is_stopped(self) -> bool:
        return self._fate.get("fate") == _STOP

    def interrupted(self) -> Interrupted:
        return Interrupted(self._signum)

    def stopped_by(self, signum: int) -> None:
        """Take in that a library that was handed the signals has ended by one."""
        if self.settle(_STOP):
            self._signum = signum
            self._say(f"loadcast: Stopped by {signal.Signals(signum).name}.")

    def hand_over(self) -> None:
        """Hear of no more signals; until another takes them, each raises Interrupted. So does one that got lost."""
        signal.set_wakeup_fd(-1)
        os.write(self._hears, _OVER)
        self._thread.join()
        self._children_ended = True
        if self.is_stopped:
            raise self.interrupted()

    def leave(self) -> NoReturn:
        """End the process, now that all is cleaned up; not by way of threads that may be waited for at an exit."""
        try:
            end_descendants()
            self.at_end()
            sys.stdout.flush()
        finally:  # an import that was interrupted may fail for good: the exit code stays what it is to be
            self._exit()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if not self._thread.is_alive():
            self.stopped_by(signum)
        if not self.settle(_STOP) or self._raised:
            return
        self._raised, self._signum = True, signum
        end_s = time.monotonic() + _CHILDREN_S + self.grace_s
        while not self._children_ended and time.monotonic() < end_s:
            time.sleep(_POLL_S)
        raise Interrupted(signum)

    def _listen(self) -> None:
        while True:
            limit_s = max(0.0, self._until_s - time.monotonic()) if self._until_s else None
            if not select.select([self._heard], [], [], limit_s)[0]:
                self._end_at_once(self.at_end)
            for number in os.read(self._heard, 64):
                if number == _OVER[0]:
                    return
                if number in _SIGNALS:
                    self._hear(number)

    def _hear(self, signum: int) -> None:
        now_s = time.monotonic()
        if self._first_s:
            if now_s - self._first_s > _SAME_S:
                self._end_at_once()
            return
        self._first_s, self._signum = now_s, signum
        name = signal.Signals(signum).name
        if self.settle(_STOP):
            self._say(f"loadcast: Stopped by {name}; nothing was published.")
            _silence()
            try:
                end_descendants(self.grace_s, lambda: bool(select.select([self._heard], [], [], 0)[0]))
            finally:
                self._children_ended = True
                self._until_s = time.monotonic() + CLEAN_UP_S
        elif self._fate["fate"] == _PUBLISH:
            self._say(f"loadcast: {name} came when the run was being published: ending after that.")

    def _end_at_once(self, first: Callable[[], None] = lambda: None) -> NoReturn:
        end_descendants()
        first()
        self._exit()

    def _exit(self) -> NoReturn:
        with suppress(OSError):
            if os.isatty(self._errors):
                os.write(self._errors, _CURSOR)
        os._exit(128 + self._signum)

    def _say(self, line: str) -> None:
        with suppress(OSError):
            clear = _CLEAR if os.isatty(self._errors) else b""
            os.write(self._errors, clear + f"{line}\n".encode())

    def _excepthook(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if isinstance(error, Interrupted):
            self.leave()
        sys.__excepthook__(kind, error, trace)


_guard: _Guard | None = None


@contextmanager
def handled(at_end: Callable[[], None]) -> Iterator[None]:
    """Take over the signals for a command, which is the block; the process ends where it was stopped.

    `at_end` removes what would be left behind.
    """
    global _guard
    guard = _guard = _Guard(at_end)
    os.register_at_fork(after_in_child=_forget)
    atexit.register(guard.ignore)
    try:
        guard.start()
        yield
    finally:
        if not guard.settle(_DONE) and guard.is_stopped:
            guard.leave()


@contextmanager
def committing() -> Iterator[None]:
    """Write, in the block, what makes a result visible: no signal interrupts it, nor what follows it.

    Raises Interrupted where a signal has come before. Fit to decorate a function as well.
    """
    if _guard is not None and not _guard.settle(_PUBLISH) and _guard.is_stopped:
        raise _guard.interrupted()
    yield


def check() -> None:
    """Raise Interrupted if a signal has come: what is going on may be its consequence."""
    if _guard is not None and _guard.is_stopped:
        raise _guard.interrupted()


def interrupted() -> None:
    """Raise Interrupted for a KeyboardInterrupt that another library's handler has raised, where signals are ours."""
    if _guard is not None and _guard.settle(_STOP):
        raise _guard.interrupted()


def take_back(grace_s: float = 0.0) -> None:
    """Handle the signals again, after a library has put its own handler there.

    From now on child processes have `grace_s` seconds to leave by themselves before they are killed.
    """
    if _guard is not None and threading.current_thread() is threading.main_thread():
        _guard.grace_s = grace_s
        _guard.handle()


def hand_over() -> None:
    """Leave the signals to a library that handles them itself; see stopped_by."""
    if _guard is not None:
        _guard.hand_over()


def stopped_by(signum: int) -> Interrupted:
    """The error to raise where a library that was handed the signals has ended by one."""
    if _guard is not None:
        _guard.stopped_by(signum)
    return Interrupted(signum)


def _silence() -> None:
    """Keep quiet what the end of the processes brings about: one line has said it."""
    logging.disable(logging.CRITICAL)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives


def _forget() -> None:
    """In a forked process: its signals are none of ours."""
    global _guard
    if _guard is not None:
        _guard = None
        with suppress(ValueError):  # a fork by another thread
            signal.set_wakeup_fd(-1)
