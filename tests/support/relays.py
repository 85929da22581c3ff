"""Ports of hosts of the tests that lead to the same port of this machine's loopback, and so to what listens there."""

from __future__ import annotations

import ctypes
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

LOOPBACK = "127.0.0.1"
_NEW_NETWORK = 0x40000000  # of setns(2)
_BLOCK_BYTES = 1 << 16


@contextmanager
def running_relay(process: int, port: int) -> Iterator[None]:
    """Connections to the loopback's `port` in a process's network reach this machine's, while the block runs."""
    with ThreadPoolExecutor(1) as own_thread:  # a thread alone goes there, and ends there
        listener = own_thread.submit(_listen, process, port).result()
    with _Server((LOOPBACK, port), _Relay, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _listen(process: int, port: int) -> socket.socket:
    descriptor = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)
    return socket.create_server((LOOPBACK, port), backlog=100)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    server_address: tuple[str, int]


class _Relay(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        with suppress(OSError), socket.create_connection(self.server.server_address) as target:
            back = threading.Thread(target=_pump, args=(target, self.request), daemon=True)
            back.start()
            _pump(self.request, target)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(_BLOCK_BYTES):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
