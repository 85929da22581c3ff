"""Clients that hold connections: some send nothing, some a byte of a head now and then, some of a body."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BEGINNINGS = (
    b"",
    b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Slow: ",
    b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[",
)
_PAUSE_S = 0.2


@contextmanager
def slow_connections(port: int, number: int) -> Iterator[int]:
    """So many slow connections at a port of this machine, made anew where the service ends one; how many there are."""
    stop = threading.Event()
    clients = [_connect(port, beginning) for beginning in itertools.islice(itertools.cycle(_BEGINNINGS), number)]
    feeder = threading.Thread(target=_feed, args=(port, clients, stop), daemon=True)
    feeder.start()
    try:
        yield sum(client is not None for client, _ in clients)
    finally:
        stop.set()
        feeder.join()
        for client, _ in clients:
            if client is not None:
                client.close()


def _connect(port: int, beginning: bytes) -> tuple[socket.socket | None, bytes]:
    try:
        client = socket.create_connection(("127.0.0.1", port), timeout=1)
    except OSError:
        return None, beginning
    with suppress(OSError):
        client.sendall(beginning)
    return client, beginning


def _feed(port: int, clients: list[tuple[socket.socket | None, bytes]], stop: threading.Event) -> None:
    """A byte to a tenth of them at a time; those that were ended begin again."""
    for turn in itertools.cycle(range(10)):
        for at in range(turn, len(clients), 10):
            client, beginning = clients[at]
            try:
                if client is None:
                    raise OSError
                if beginning:
                    client.send(b"x")
            except OSError:
                if client is not None:
                    client.close()
                clients[at] = _connect(port, beginning)
        if stop.wait(_PAUSE_S):
            return
