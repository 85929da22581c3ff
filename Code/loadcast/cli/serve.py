"""`loadcast serve`: a trained bundle over HTTP."""

from __future__ import annotations

import click

from loadcast import paths
from loadcast.cli.common import friendly
from loadcast.cli.usage import Command


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
@click.option("--key-file", type=click.Path(), help="File with the key; else LOADCAST_SERVICE_KEY holds it.")
@click.option("--name", default="loadcast", show_default=True, help="Name in /api/v1/service/NAME/score.")
@click.option("--access-log", is_flag=True, help="Log successful health probes, too.")
@friendly
def serve(model: str, key_file: str | None, **options: object) -> None:
    """Serve a trained bundle over HTTP.

    \b
    Examples:
      python Code/webservice.py --model Model --port 5000
      python Code/webservice.py --model Config/storageconfig.json
      LOADCAST_SERVICE_KEY=... python Code/webservice.py --model output/demo --host 0.0.0.0
    """
    from loadcast.serving.http_server import ServeOptions
    from loadcast.serving.http_server import serve as run_server
    from loadcast.serving.keys import read_key
    from loadcast.storage.named import folder_of

    bundle = str(folder_of(model, paths.MODEL, paths.BUNDLE))
    run_server(ServeOptions(bundle, key=read_key(key_file), **options), click.echo)  # type: ignore[arg-type]
