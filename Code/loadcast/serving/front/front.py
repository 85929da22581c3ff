"""The connections of one worker: who is let in, whose time is up, and who answers a request."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from loadcast.serving.front.connection import Connection, State
from loadcast.serving.front.limits import LARGEST_QUICK_BODY, Limits
from loadcast.serving.front.message import DRAINING, Message, Refused, environ_of
from loadcast.serving.front.replies import Answer, Application, call, refusal

_THREADS = 2
#: Which of an address's connections has to leave first where there are too many.
_LEAVES_FIRST = (State.HEAD, State.BODY, State.IDLE)


@dataclass(frozen=True)
class Answering:
    """Who answers, and as which server.

    `server`: its address and port. `slow_paths` begin the targets that a thread answers, however short their requests.
    `count_refusal` is told the status of each request that never reaches the application.
    """

    application: Application
    server: tuple[str, int]
    scheme: str = "http"
    slow_paths: tuple[bytes, ...] = ()
    count_refusal: Callable[[int], None] = lambda status: None


class Front:
    """What all connections of a worker share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, answering: Answering) -> None:
        self.loop, self.limits = loop, limits
        self.is_draining = False
        self.buffered_bytes = 0
        self.connections: set[Connection] = set()
        self._counted: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self.count_refusal = answering.count_refusal
        self._answering = answering
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="loadcast-answer")

    @property
    def n_connections(self) -> int:
        """Connections that may still ask for something."""
        return len(self._counted)

    def admit(self, connection: Connection) -> bool:
        """Let a connection in; another that waits for its client has to leave for it where there are too many."""
        self.connections.add(connection)
        address = connection.client[0]
        too_many = self._addresses[address] >= self.limits.address_connections
        if too_many or self.n_connections >= self.limits.connections:
            waiting = [
                other
                for other in self._counted
                if other.state in _LEAVES_FIRST and (not too_many or other.client[0] == address)
            ]
            if not waiting:
                return False
            leaving = min(waiting, key=lambda other: (_LEAVES_FIRST.index(other.state), other.since))
            self.release(leaving)
            if leaving.state is State.IDLE:
                leaving.close()
            else:
                leaving.refuse(Refused(408, "There are too many connections, and this one is the slowest."))
        self._counted.add(connection)
        self._addresses[address] += 1
        return True

    def release(self, connection: Connection) -> None:
        """Count a connection no more: it asks for nothing from now on."""
        if connection in self._counted:
            self._counted.discard(connection)
            address = connection.client[0]
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self.release(connection)
        self.connections.discard(connection)

    def look(self) -> None:
        """End what has waited too long."""
        now = time.monotonic()
        for connection in [known for known in self.connections if known.deadline < now]:
            connection.expire()

    def drain(self) -> None:
        """Take no second request of any connection; those that are between two have a moment to ask for one."""
        self.is_draining = True
        now = time.monotonic()
        for connection in self.connections:
            if connection.state is State.IDLE:
                left_s = self.limits.drain_s if connection.n_answers else self.limits.head_s
                connection.deadline = min(connection.deadline, now + left_s)

    def end(self) -> None:
        """Break off whatever is left."""
        for connection in list(self.connections):
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def answer(self, message: Message, client: tuple[str, int], then: Callable[[Answer], None]) -> None:
        """Answer a request, now or by a thread, and call `then`."""
        try:
            environ = environ_of(message, self._answering.scheme, client, self._answering.server)
        except Refused as refused:
            message.keeps_alive = False
            self.count_refusal(refused.status)
            then(refusal(refused.status, refused.detail))
            return
        environ[DRAINING] = self.is_draining
        application, slow_paths = self._answering.application, self._answering.slow_paths
        if len(message.body) <= LARGEST_QUICK_BODY and not message.target.startswith(slow_paths):
            then(call(application, environ))
            return
        future = self.loop.run_in_executor(self._threads, call, application, environ)
        future.add_done_callback(lambda done: None if done.cancelled() else then(done.result()))
