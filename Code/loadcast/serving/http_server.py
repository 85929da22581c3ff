"""Serving over HTTP with gunicorn: which address may be bound, the key, and the start."""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask

from loadcast.errors import ConfigError, EnvironmentNotReadyError, LoadcastError
from loadcast.logs.events import SERVICE, log_event
from loadcast.secrets import shown
from loadcast.serving.app import SERVICE as APPLICATION
from loadcast.serving.app import SLOW_PATHS, create_app
from loadcast.serving.bundle import bundle_folder
from loadcast.serving.exchange import Exchange
from loadcast.serving.front.arbiter import Server
from loadcast.serving.front.limits import Limits
from loadcast.serving.front.worker import FrontOptions
from loadcast.serving.keys import KEY_VARIABLE, KeyFile, Keys
from loadcast.serving.predictor import Predictor
from loadcast.serving.watch import LOOK_EVERY_S, Watcher

if TYPE_CHECKING:
    from loadcast.serving.gate_file import LiveGate


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    `model`: a folder, as it is shown to users. `keys`: None serves loopback alone. `find`: gives the folder of the
    newest model, for a service that follows it and looks every `look_every_s` seconds. `statistics`: an output folder
    for /forecast, and `gate` a file of `loadcast monitor --gate` for its answers. `rate_limit`: requests a second of
    each key. `tls`: files of the certificate's chain and of its private key.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int = 2
    name: str = "loadcast"
    keys: Keys | KeyFile | None = None
    access_log: bool = False
    find: Callable[[], Path] | None = None
    look_every_s: float = LOOK_EVERY_S
    statistics: Path | None = None
    gate: Path | None = None
    rate_limit: float | None = None
    limits: Limits = field(default_factory=Limits)
    tls: tuple[Path, Path] | None = None


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
        "post_fork": _keep_pandas_out,
    }


def _keep_pandas_out(arbiter: Any, worker: Any) -> None:
    """pyarrow would import pandas, where that is installed, in the middle of a request, for half a second."""
    sys.meta_path.insert(0, _NoPandas())


class _NoPandas(MetaPathFinder):
    """Pandas is not to be had. None among sys.modules says so to Python alone: pyarrow would take it for pandas."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("The service does without pandas.", name=name)


def start_lines(options: ServeOptions, port: int) -> str:
    """What the user reads once the service answers."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"{'https' if options.tls else 'http'}://{host}:{port}"
    guard = "key required" if options.keys else "no key: this machine only"
    header = f' -H "Authorization: Bearer ${KEY_VARIABLE}"' if options.keys else ""
    return (
        f"loadcast serves {shown(options.model)} at {url}/score ({guard}). Stop with Ctrl+C.\n"
        f"Try: curl{header} -H 'Content-Type: application/json' -d '[]' {url}/score"
    )


def serve(options: ServeOptions, say: Callable[[str], None]) -> None:
    """Load the model and serve until stopped; `say` gets the start lines.

    Raises ArtefactError, ConfigError or EnvironmentNotReadyError before anything listens, and in the end Interrupted.
    """
    tls = None if options.tls is None else tls_context(*options.tls)
    # Resolved once, and looked at before it is loaded: what is published meanwhile is newer than what is served.
    bundle = bundle_folder(Path(options.model))
    watcher = None if options.find is None else Watcher(options.find, bundle, options.look_every_s)
    share = None if options.rate_limit is None else options.rate_limit / options.workers
    predictor = Predictor.load(bundle)
    application = create_app(
        predictor,
        keys=options.keys,
        name=options.name,
        statistics=options.statistics,
        rate_limit=share,
        forecast_gate=None if options.gate is None else _forecast_gate(options.gate, predictor),
    )
    if options.access_log:
        SERVICE.setLevel(logging.DEBUG)
    listener = open_socket(options.host, options.port, loopback_only=options.keys is None)
    port = listener.getsockname()[1]
    # gunicorn takes the descriptor over, and closes it when it stops.
    settings = gunicorn_settings(options, listener.detach(), lambda _: say(start_lines(options, port)))
    front = FrontOptions(options.limits, SLOW_PATHS, tls, partial(_count_refusal, application))
    Server(application, settings, front, None if watcher is None else _renewal(watcher, application)).run()


def _forecast_gate(path: Path, predictor: Predictor) -> LiveGate:
    # What it brings takes a moment: who has no gate does not wait for it.
    from loadcast.serving.gate_file import LiveGate

    gate = LiveGate(path)
    gate.check(predictor.info)
    return gate


def _count_refusal(application: Flask, status: int) -> None:
    """Log and count a request that the front refused."""
    log_event(SERVICE, logging.INFO, "refused", "A request was refused before it was whole.", status=status)
    application.extensions[APPLICATION].metrics.count(Exchange("", "", ""), status, 0.0)


def _renewal(watcher: Watcher, application: Flask) -> Callable[[], bool]:
    """Replace the model of an application where there is a newer one; say whether that was so."""

    def renew() -> bool:
        folder = watcher.newer()
        if folder is None:
            return False
        try:
            application.extensions[APPLICATION].use(Predictor.load(folder))
        except LoadcastError as error:
            message = "A newer model is gone again; the one from before still answers."
            log_event(SERVICE, logging.WARNING, "model", message, why=str(error))
            return False
        return True

    return renew


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What TLS is spoken with. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(
            f"TLS: {certificate} and {key} cannot be used ({why}), wanted a chain of certificates and its private key "
            "without a password, both in PEM."
        ) from None
    return context
