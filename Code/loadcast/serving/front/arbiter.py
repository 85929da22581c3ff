"""gunicorn's arbiter: it starts workers, replaces those that die, and all of them when there is another application."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]

from loadcast.serving.front.replies import Application
from loadcast.serving.front.worker import FrontOptions, FrontWorker
from loadcast.system.signals import hand_over, stopped_by

#: Changes what the application answers with, where there is something newer; says whether it has.
Renewal = Callable[[], bool]


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn around an application that is loaded already, on a socket that is bound already.

    `renewal` is asked each second; where it has changed the application, new workers take over, while those from before
    answer what they have been asked and end.
    """

    def __init__(
        self, application: Application, settings: Mapping[str, Any], front: FrontOptions, renewal: Renewal | None = None
    ) -> None:
        self.application, self.front, self.renewal = application, front, renewal
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        own = {"worker_class": FrontWorker, "pre_fork": _take_slot, "child_exit": _free_slot, "preload_app": True}
        for key, value in {**self._settings, **own}.items():
            self.cfg.set(key, value)

    def load(self) -> Application:
        return self.application

    def run(self) -> None:
        """Serve until a signal ends it, then raise Interrupted."""
        arbiter = _Arbiter(self)
        hand_over()
        try:
            arbiter.run()
        finally:
            if arbiter.ended_by is not None:
                raise stopped_by(arbiter.ended_by)


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's master process; it keeps in mind what signal ended it, and which workers are to leave."""

    ended_by: int | None = None

    def __init__(self, app: Server) -> None:
        #: Workers that serve an application of before, and when each of them has to have ended.
        self._leaving: dict[int, float] = {}
        super().__init__(app)

    def handle_int(self) -> None:
        self.ended_by = signal.SIGINT
        super().handle_int()

    def handle_term(self) -> None:
        self.ended_by = signal.SIGTERM
        super().handle_term()

    def manage_workers(self) -> None:
        """As many workers as wanted, of the newest application; those of another end when they have answered."""
        self._renew()
        staying = sorted(self.WORKERS.keys() - self._leaving.keys(), key=lambda pid: self.WORKERS[pid].age)
        for _ in range(self.num_workers - len(staying)):
            self.spawn_worker()
        for pid in staying[: max(0, len(staying) - self.num_workers)]:
            self._let_go(pid)
        for pid, latest_s in list(self._leaving.items()):
            if pid not in self.WORKERS:
                del self._leaving[pid]
            elif time.monotonic() > latest_s:
                self.kill_worker(pid, signal.SIGKILL)

    def _renew(self) -> None:
        if self.app.renewal is None or not self.app.renewal():
            return
        before = list(self.WORKERS)
        for _ in range(self.num_workers):
            self.spawn_worker()
        for pid in before:
            self._let_go(pid)

    def _let_go(self, pid: int) -> None:
        if pid not in self._leaving:
            self._leaving[pid] = time.monotonic() + self.cfg.graceful_timeout
            self.kill_worker(pid, signal.SIGTERM)


def _take_slot(server: Any, worker: FrontWorker) -> None:
    worker.slot = server.app.front.share.take()


def _free_slot(server: Any, worker: FrontWorker) -> None:
    server.app.front.share.free(worker.slot)
