"""`loadcast serve`: a trained bundle over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loadcast import paths
from loadcast.cli.common import friendly
from loadcast.cli.usage import Command

#: How often a folder is looked at for a newer model, and what may be a container.
_LOOK_S, _LOOK_ELSEWHERE_S = 1.0, 10.0
_STATISTICS = (paths.INFO, paths.HOURLY, paths.DAILY)
_SECONDS = click.FloatRange(0.1, 3600)


@click.command(cls=Command)
@click.option(
    "--model",
    default="Model",
    show_default=True,
    help="Bundle folder, output folder, container's URL, or a configuration: its newest model.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a key.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--key-file", type=click.Path(), help="File with one or two keys; else LOADCAST_SERVICE_KEY holds one.")
@click.option("--name", default="loadcast", show_default=True, help="Name in /api/v1/service/NAME/score.")
@click.option(
    "--watch", is_flag=True, help="Follow what --model names: serve a newer model as soon as it is published."
)
@click.option(
    "--statistics", metavar="OUTPUT", help="Output folder or configuration whose statistics answer /forecast."
)
@click.option(
    "--gate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Let naive forecasts answer /forecast where they are better, as loadcast monitor --gate FILE has found.",
)
@click.option("--rate-limit", type=click.FloatRange(0, min_open=True), help="Requests a second of each key.")
@click.option("--head-seconds", default=5.0, show_default=True, type=_SECONDS, help="Time for a request's head.")
@click.option("--body-seconds", default=30.0, show_default=True, type=_SECONDS, help="Time for a request's body.")
@click.option(
    "--connections-per-address",
    default=2048,
    show_default=True,
    type=click.IntRange(1),
    help="Connections of one address; a new one takes the place of the slowest.",
)
@click.option("--tls-cert", type=click.Path(), help="Certificates in PEM: the service speaks TLS; wants --tls-key.")
@click.option("--tls-key", type=click.Path(), help="Their private key in PEM, without a password.")
@click.option("--access-log", is_flag=True, help="Log successful health probes, too.")
@friendly
def serve(model: str, **options: Any) -> None:
    """Serve a trained bundle over HTTP.

    \b
    Examples:
      python Code/webservice.py --model Model --port 5000
      python Code/webservice.py --model output/demo --watch --statistics output/demo
      python Code/webservice.py --model output/demo --statistics output/demo --gate gate.json
      LOADCAST_SERVICE_KEY=... python Code/webservice.py --model output/demo --host 0.0.0.0
    """
    from loadcast.serving.front.limits import Limits
    from loadcast.serving.http_server import ServeOptions
    from loadcast.serving.http_server import serve as run_server
    from loadcast.serving.keys import service_keys
    from loadcast.storage.named import folder_of

    def find() -> Path:
        return folder_of(model, paths.MODEL, paths.BUNDLE)

    tls = _tls(options.pop("tls_cert"), options.pop("tls_key"))
    statistics = options.pop("statistics")
    if statistics is None and options["gate"] is not None:
        raise click.UsageError("--gate: wanted --statistics OUTPUT, too; a gate is for what answers /forecast.")
    limits = Limits(
        head_s=options.pop("head_seconds"),
        body_s=options.pop("body_seconds"),
        address_connections=max(1, options.pop("connections_per_address") // options["workers"]),
    )
    settings = ServeOptions(
        str(find()),
        keys=service_keys(options.pop("key_file")),
        find=find if options.pop("watch") else None,
        look_every_s=_LOOK_S if Path(model).is_dir() else _LOOK_ELSEWHERE_S,
        statistics=None if statistics is None else folder_of(statistics, paths.CURRENT, _STATISTICS),
        limits=limits,
        tls=tls,
        **options,
    )
    run_server(settings, click.echo)


def _tls(certificate: str | None, key: str | None) -> tuple[Path, Path] | None:
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key: found one of them, wanted both or none.")
    return None if certificate is None or key is None else (Path(certificate), Path(key))
