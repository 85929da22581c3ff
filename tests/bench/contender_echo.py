"""The service's HTTP front around an application that only counts bytes: what the front itself costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from loadcast.serving.front.arbiter import Server
from loadcast.serving.front.worker import FrontOptions
from loadcast.serving.http_server import open_socket


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with the length of the body."""
    body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    """Serve on the port that is given, with so many workers."""
    port, workers = map(int, sys.argv[1:])
    descriptor = open_socket("127.0.0.1", port, loopback_only=True).detach()
    settings = {
        "bind": [f"fd://{descriptor}"],
        "workers": workers,
        "loglevel": "warning",
        "control_socket_disable": True,
    }
    Server(echo, settings, FrontOptions()).run()


if __name__ == "__main__":
    main()
