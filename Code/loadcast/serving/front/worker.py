"""gunicorn's worker: one event loop that accepts, reads and answers, until it is to end."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import uvloop
from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

from loadcast.serving.front.connection import Connection
from loadcast.serving.front.front import Answering, Front
from loadcast.serving.front.limits import LOOK_EVERY_S, Limits
from loadcast.serving.front.share import Share

#: An ending worker accepts until so long nobody has come, as who waits at a socket that closes is reset; but those who
#: come all the same do not keep it for longer than this.
_QUIET_S, _LONGEST_WELCOME_S = 0.2, 5.0
#: A worker that has more connections than another leaves a new one to that one for so long.
_YIELD_S = 0.005
#: How long nothing is accepted where there are no files left.
_NO_FILES_S = 0.1
_SPARE_FILES = 128


@dataclass(frozen=True)
class FrontOptions:
    """What the workers share.

    `slow_paths` begin the targets that a thread answers. `count_refusal` is told the status of each request that never
    reaches the application.
    """

    limits: Limits = field(default_factory=Limits)
    slow_paths: tuple[bytes, ...] = ()
    tls: ssl.SSLContext | None = None
    count_refusal: Callable[[int], None] = lambda status: None
    share: Share = field(default_factory=Share)


class FrontWorker(Worker):  # type: ignore[misc]
    """Serves the arbiter's application within `app.front`; `slot` is its own in the share."""

    slot: int

    def init_signals(self) -> None:
        """None of gunicorn's handlers, which work between two requests of threads; the event loop has its own."""
        for signum in self.SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        # These reach all processes of a terminal; the arbiter says what is to be done.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run(self) -> None:
        """Serve until told to end."""
        gc.freeze()  # what was loaded before the fork stays shared with the other workers
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        loop, options = asyncio.get_running_loop(), self.app.front
        self._options: FrontOptions = options
        self._listener: socket.socket = self.sockets[0].sock
        self._listener.setblocking(False)
        self._ending = asyncio.Event()
        self._accepted_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        address = self._listener.getsockname()
        answering = Answering(
            self.wsgi,
            (str(address[0]), int(address[1])),
            "https" if options.tls else "http",
            options.slow_paths,
            options.count_refusal,
        )
        self._front = Front(loop, _within_open_files(options.limits), answering)
        for signum in (signal.SIGTERM, signal.SIGQUIT):
            loop.add_signal_handler(signum, self._end, signum)
        self._listen()
        while not self._ending.is_set():
            self._look()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), LOOK_EVERY_S)
        await self._drain()
        self._front.end()

    def _end(self, signum: int) -> None:
        if signum == signal.SIGQUIT:
            os._exit(0)
        self._ending.set()

    def _look(self) -> None:
        self.notify()
        self._front.look()
        self._tell_load()
        if os.getppid() != self.ppid:  # the arbiter is gone
            self._ending.set()

    async def _drain(self) -> None:
        """Answer whoever is connected; the arbiter ends this process where that takes too long."""
        self._options.share.leave(self.slot)
        self._front.drain()
        begin_s = self._accepted_s = time.monotonic()
        while time.monotonic() < min(self._accepted_s + _QUIET_S, begin_s + _LONGEST_WELCOME_S):
            self._look()
            await asyncio.sleep(_QUIET_S / 4)
        self._front.loop.remove_reader(self._listener.fileno())
        while self._accept_one():
            pass
        self._listener.close()
        while self._front.connections or self._tasks:
            self._look()
            await asyncio.sleep(_QUIET_S / 4)

    def _tell_load(self) -> None:
        self._options.share.set(self.slot, self._front.n_connections + len(self._tasks))

    def _listen(self) -> None:
        self._front.loop.add_reader(self._listener.fileno(), self._accept)

    def _pause(self, seconds: float, then: Callable[[], Any]) -> None:
        self._front.loop.remove_reader(self._listener.fileno())
        self._front.loop.call_later(seconds, lambda: self._listener.fileno() < 0 or then())

    def _accept(self) -> None:
        """Accept one, for others to have their turn, unless another worker has fewer."""
        self._tell_load()
        if self._options.share.has_most(self.slot):
            self._pause(_YIELD_S, self._accept_and_listen)
        else:
            self._accept_one()

    def _accept_and_listen(self) -> None:
        self._listen()
        self._accept_one()

    def _accept_one(self) -> bool:
        """Accept one, if there is one."""
        try:
            client, address = self._listener.accept()
        except OSError as error:  # most often another worker has it by now
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._pause(_NO_FILES_S, self._listen)
            return False
        self._accepted_s = time.monotonic()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._front.loop.create_task(self._connect(client, (str(address[0]), int(address[1]))))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._tell_load()
        return True

    async def _connect(self, client: socket.socket, address: tuple[str, int]) -> None:
        options: dict[str, Any] = {}
        if self._options.tls:
            limits = self._front.limits
            times = {"ssl_handshake_timeout": limits.head_s, "ssl_shutdown_timeout": limits.linger_s}
            options = {"ssl": self._options.tls, **times}
        try:
            await self._front.loop.connect_accepted_socket(lambda: Connection(self._front, address), client, **options)
        except OSError:  # the client is gone, or speaks no TLS
            client.close()


def _within_open_files(limits: Limits) -> Limits:
    """These limits, with no more connections than this process can have files, all that it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limits.connections + _SPARE_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    # Half of them are for those that have been answered for the last time and are not closed yet.
    return replace(limits, connections=max(1, min(limits.connections, (max(most, soft) - _SPARE_FILES) // 2)))
