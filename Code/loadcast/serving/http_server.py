"""Serving over HTTP with gunicorn: which address may be bound, the key, and the start."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.logs.events import SERVICE
from loadcast.secrets import shown
from loadcast.serving.app import create_app
from loadcast.serving.front.arbiter import Server
from loadcast.serving.front.worker import FrontOptions
from loadcast.serving.keys import KEY_VARIABLE, Keys
from loadcast.serving.predictor import Predictor


@dataclass(frozen=True)
class ServeOptions:
    """How to serve: model folder, address, processes, the service's name, its key (None: loopback only)."""

    model: str
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 2
    name: str = "loadcast"
    key: str | None = field(default=None, repr=False)
    access_log: bool = False


def open_socket(host: str, port: int, *, loopback_only: bool) -> socket.socket:
    """A socket that listens on exactly this address.

    Raises ConfigError for an address that is not this machine's own loopback when only that is allowed, and
    EnvironmentNotReadyError when the address cannot be bound.
    """
    try:
        # An empty host would stand for every address of the machine.
        addresses = socket.getaddrinfo(host or " ", port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise ConfigError(
            f"host: found '{shown(host, 100)}', wanted an address of this machine such as 127.0.0.1."
        ) from exc
    family, kind, protocol, _, address = addresses[0]
    if loopback_only and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise ConfigError(
            f"host: found {host}, which others can reach, but no key is set. Set {KEY_VARIABLE} or give --key-file, "
            "or serve on 127.0.0.1."
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Two sockets may share a port until one of them listens; listening now brings the conflict out here.
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise EnvironmentNotReadyError(
            f"Cannot serve on {host} port {port}: {exc.strerror}. Stop what uses it, or choose another with --port."
        ) from exc
    return listener


def gunicorn_settings(options: ServeOptions, descriptor: int, when_ready: Callable[[Any], None]) -> dict[str, Any]:
    """gunicorn's settings for these options; `descriptor` is the bound socket's."""
    return {
        "bind": [f"fd://{descriptor}"],
        "workers": options.workers,
        "timeout": 60,
        "graceful_timeout": 30,
        "accesslog": None,  # the application logs requests itself: request_log.py
        "loglevel": "warning",
        "control_socket_disable": True,
        "when_ready": when_ready,
    }


def start_lines(options: ServeOptions, port: int) -> str:
    """What the user reads once the service answers."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{port}"
    guard = "key required" if options.key else "no key: this machine only"
    header = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if options.key else ""
    return (
        f"loadcast serves {shown(options.model)} at {url}/score ({guard}). Stop with Ctrl+C.\n"
        f"Try: curl{header} -H 'Content-Type: application/json' -d '[]' {url}/score"
    )


def serve(options: ServeOptions, say: Callable[[str], None]) -> None:
    """Load the model and serve until stopped; `say` gets the start lines.

    Raises ArtefactError, ConfigError or EnvironmentNotReadyError before anything listens, and in the end Interrupted.
    """
    keys = None if options.key is None else Keys.parse(options.key.encode(), "key")
    application = create_app(Predictor.load(options.model), keys=keys, name=options.name)
    if options.access_log:
        SERVICE.setLevel(logging.DEBUG)
    listener = open_socket(options.host, options.port, loopback_only=options.key is None)
    port = listener.getsockname()[1]
    # gunicorn takes the descriptor over, and closes it when it stops.
    settings = gunicorn_settings(options, listener.detach(), lambda _: say(start_lines(options, port)))
    Server(application, settings, FrontOptions()).run()
