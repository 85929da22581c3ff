"""The HTTP front around an application of the tests, as a process, with deadlines that tests can wait for; raw clients.

`python -m front_service WORKERS LIMITS` serves on a free port, which it prints; LIMITS is JSON of Limits' fields.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_S = 60.0
_released = threading.Event()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Say what arrived; /slow takes a while, /held waits for /release, /broken fails."""
    body = environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(0.3)
    elif path == "/held":
        _released.wait()
    elif path == "/release":
        _released.set()
    elif path == "/broken":
        raise RuntimeError("as asked")
    plain = {name: value for name, value in environ.items() if isinstance(value, (str, bool))}
    said = json.dumps({"pid": os.getpid(), "n_bytes": len(body), "environ": plain}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(said)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [said]


@dataclass(frozen=True)
class Service:
    """A running front: its process is gunicorn's arbiter."""

    port: int
    process: subprocess.Popen[str]

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A new connection, whose reads end with an error rather than never."""
        return socket.create_connection(("127.0.0.1", self.port), _TIMEOUT_S, (source, 0))

    def exchange(self, sent: bytes, half_close: bool = False) -> bytes:
        """All that comes back on a connection of its own until its end."""
        with self.connect() as client:
            client.sendall(sent)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def workers(self) -> list[int]:
        """The processes that answer, once there are any."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (pids := children.read_text().split()):
            time.sleep(0.05)
        return [int(pid) for pid in pids]


@dataclass(frozen=True)
class Answer:
    """One parsed answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


def read_all(client: socket.socket) -> bytes:
    """What a connection gives until the other side closes it."""
    pieces = []
    while piece := client.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def parse(data: bytes, heads_only: bool = False) -> list[Answer]:
    """The answers in a connection's bytes; whatever is no HTTP fails. `heads_only`: to requests of HEAD."""
    answers = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"a head without an end: {head[:200]!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = 0 if heads_only or status == "100" else int(headers["content-length"])
        body, data = data[:length], data[length:]
        assert len(body) == length
        answers.append(Answer(int(status), headers, body))
    return answers


@contextmanager
def running_front(workers: int = 1, **limits: float) -> Iterator[Service]:
    """A front with these limits."""
    command = [sys.executable, "-m", "front_service", str(workers), json.dumps(limits)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        try:
            yield Service(int(process.stdout.readline()), process)
        finally:
            process.terminate()


def main() -> None:
    """Serve until a signal comes."""
    from loadcast.serving.front.arbiter import Server
    from loadcast.serving.front.limits import Limits
    from loadcast.serving.front.worker import FrontOptions
    from loadcast.serving.http_server import open_socket
    from loadcast.system.signals import Interrupted

    listener = open_socket("127.0.0.1", 0, loopback_only=True)
    port = listener.getsockname()[1]
    settings = {
        "bind": [f"fd://{listener.detach()}"],
        "workers": int(sys.argv[1]),
        "loglevel": "critical",
        "control_socket_disable": True,
        "graceful_timeout": 40,
        "when_ready": lambda _: print(port, flush=True),
    }
    options = FrontOptions(Limits(**json.loads(sys.argv[2])), slow_paths=(b"/slow", b"/held"))
    try:
        Server(application, settings, options).run()
    except Interrupted as ended:
        sys.exit(ended.exit_code)


if __name__ == "__main__":
    main()
