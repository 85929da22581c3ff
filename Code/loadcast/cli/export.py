"""`loadcast export`: the newest model bundle as a folder of its own."""

from __future__ import annotations

from pathlib import Path

import click

from loadcast.cli.common import friendly
from loadcast.settings import load_settings
from loadcast.storage.export import export_bundle
from loadcast.storage.publish import output_folder


@click.command()
@click.argument("config", type=click.Path())
@click.argument("dest", type=click.Path(path_type=Path))
@friendly
def export(config: str, dest: Path) -> None:
    """Copy the newest model bundle of CONFIG's output to the folder DEST, replacing a bundle that is there.

    A bundle is all that the service needs: the encoders, the scaler, the forest, `info` and metrics.json.

    \b
    Example:
      loadcast export Config/demo.json Model
    """
    size = export_bundle(output_folder(load_settings(config)), dest)
    click.echo(f"The bundle is in {dest} ({size / 1e6:.2f} MB). Serve it: python Code/webservice.py --model {dest}")
