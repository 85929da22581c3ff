"""What a script that runs on another node of a cluster sends back: its log as it is written, its files, its end.

The node connects, and says a token that it was given with its job. It is told how many bytes of the log are here
already, so that a connection that was lost is taken up where it stopped. Frames are a sign, a length and data:
`L` log, `R` a tar of results (anew with each connection), `X` the exit code, which `K` answers.
"""

from __future__ import annotations

import hmac
import os
import socket
import socketserver
import struct
import tempfile
import threading
from contextlib import suppress
from typing import IO, Callable  # noqa: UP035  # Python 3.8 asks it of this one

_HEAD = struct.Struct(">cI")
_OFFSET = struct.Struct(">Q")
_LARGEST_FRAME = 1 << 20
#: Seconds that a connection may take to say its token, and between two frames.
_HANDSHAKE_S, _SILENCE_S = 15.0, 120.0
Say = Callable[[bytes], object]


class Receiver:
    """Listens on all addresses of this machine while the block runs; `say` gets the log.

    Once it has `ended`, `code` is the exit code and `results` the tar of what the script has left.
    """

    def __init__(self, token: str, say: Say) -> None:
        self._token, self._say = token.encode(), say
        self._lock, self._generation, self._received = threading.Lock(), 0, 0
        self.code: int | None = None
        self.results: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # as long as we live
        self.ended = threading.Event()
        receiver = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError, EOFError, ValueError):  # it will come again
                    receiver._talk(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, False

        self._server = Server(("", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, args=(0.2,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.results.close()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(_HANDSHAKE_S)
        if not hmac.compare_digest(_exactly(connection, len(self._token)), self._token):
            return
        connection.settimeout(_SILENCE_S)
        with self._lock:
            if not self.ended.is_set():  # else it has not heard that we know
                self._generation += 1
                self.results.seek(0)
                self.results.truncate()
            mine = self._generation
            connection.sendall(_OFFSET.pack(self._received))
        while True:
            kind, length = _HEAD.unpack(_exactly(connection, _HEAD.size))
            if length > _LARGEST_FRAME:
                raise ValueError("a frame that is too long")
            data = _exactly(connection, length)
            with self._lock:
                if mine != self._generation:  # a later connection says it
                    return
                if not self.ended.is_set():
                    self._take(kind, data)
            if kind == b"X":
                connection.sendall(b"K")

    def _take(self, kind: bytes, data: bytes) -> None:
        if kind == b"L":
            self._received += len(data)
            self._say(data)
        elif kind == b"R":
            self.results.write(data)
        elif kind == b"X":
            self.code = int(data)
            self.ended.set()
        elif kind != b"A":  # still alive
            raise ValueError("a frame of another kind")


def own_addresses() -> list[str]:
    """Under which the cluster's nodes may reach this machine, most likely ones first."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    found = [connection[2]] if len(connection) == 4 and ":" not in connection[2] else []
    with suppress(OSError):
        found += [str(about[4][0]) for about in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    found = [*dict.fromkeys(found)]
    return sorted(found, key=lambda address: address.startswith("127.")) or ["127.0.0.1"]


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        block = connection.recv(min(length - len(data), 1 << 16))
        if not block:
            raise EOFError
        data += block
    return bytes(data)
