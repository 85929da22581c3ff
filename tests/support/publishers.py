"""Publishers that take one step of their store at a time, and stop, die, lose locks and answers between any two."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from loadcast import paths
from loadcast.errors import OutputError
from loadcast.storage.runs import StoredRun

#: What may happen to a publisher at one of its steps: nothing; the answer is lost, and what was asked for was done, or
#: will be done later; it is lost, and the client asks again; a pointer or a part of a listing is not seen.
LOST, DELAYED, REPEATED, BLIND, CUT = "lost", "delayed", "repeated", "blind", "cut"
STEPS = (
    "prove",
    "pointer",
    "claim",
    "replace",
    "stored",
    "is_complete",
    "record",
    "complete",
    "amend",
    "withdraw",
    "remove",
)
WRITES = ("claim", "replace", "complete", "amend", "withdraw")
LOCAL = threading.local()


class Died(BaseException):
    """The publisher's process has ended: nothing more is done."""


class Publisher:
    """A thread that works on an output, and waits before each step until it may go on."""

    def __init__(self, work: Callable[[Publisher], None], clock_ahead: timedelta, has_model: bool) -> None:
        self.clock_ahead, self.has_model = clock_ahead, has_model
        self.run = ""
        self.misfortune = ""
        self.is_in_step = self.was_tampered = self.wrote = self.is_dead = self.is_done = self.is_rollback = False
        self.error: BaseException | None = None
        self._go, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, args=(work,), daemon=True)
        self._thread.start()
        self._rests.acquire()

    def step(self) -> None:
        """Let it do one thing more; returns when it has, or has ended."""
        self._go.release()
        self._rests.acquire()

    def die(self) -> None:
        """End it where it is."""
        self.is_dead = True
        while not self.is_done:
            self.step()

    def wait(self) -> None:
        """Called by the thread itself before each step."""
        if not self.is_dead:
            self._rests.release()
            self._go.acquire()
        if self.is_dead:
            raise Died

    def _live(self, work: Callable[[Publisher], None]) -> None:
        LOCAL.publisher = self
        try:
            self.wait()
            work(self)
        except BaseException as error:
            self.error = error
        self.is_done = True
        self._rests.release()


def gated(store: type[Any], late: list[Callable[[], object]]) -> type[Any]:
    """The store, whose steps wait for their publisher's turn, and meet its misfortune."""

    def of(name: str) -> Callable[..., Any]:
        original = getattr(store, name)

        def step(self: Any, *arguments: Any) -> Any:
            publisher: Publisher | None = getattr(LOCAL, "publisher", None)
            if publisher is None or publisher.is_in_step:
                return original(self, *arguments)
            publisher.wait()
            publisher.wrote |= name in (*WRITES, "remove")
            misfortune, publisher.misfortune = publisher.misfortune, ""
            if misfortune == DELAYED and name in WRITES and hasattr(self, "container"):  # folders have no network
                publisher.was_tampered = True
                late.append(lambda: original(self, *arguments))
                raise OutputError("No network: the request is under way.")
            if misfortune == BLIND and name == "pointer":
                publisher.was_tampered = True
                return None
            if name == "remove":
                partly_removed(self, *arguments)
            publisher.is_in_step = True  # what it consists of is no step of its own
            try:
                result = original(self, *arguments)
                if misfortune == REPEATED and name in WRITES and hasattr(self, "container"):
                    result = original(self, *arguments)
            finally:
                publisher.is_in_step = False
            if misfortune == LOST:
                publisher.was_tampered = True
                raise OutputError("No network: the answer is lost.")
            if misfortune == CUT and name == "stored":
                publisher.was_tampered = True
                return cut(result)
            return result

        return step

    def partly_removed(self: Any, name: str) -> None:
        if hasattr(self, "container"):
            self.container.delete([f"{self.path(name)}/{paths.COMPLETE}"])
            LOCAL.publisher.wait()

    return type(store.__name__, (store,), {name: of(name) for name in STEPS})


def cut(stored: Sequence[StoredRun]) -> list[StoredRun]:
    """A listing without one run, and without the last blobs of another."""
    return [replace(run, is_complete=False, has_model=False) for run in stored[1:]]
