"""`loadcast export`: the newest model bundle as a folder of its own."""

from __future__ import annotations

from pathlib import Path

import click

from loadcast import paths
from loadcast.cli.common import friendly
from loadcast.settings import load_settings
from loadcast.storage.export import BUNDLE_PARTS, export_bundle
from loadcast.storage.output import open_output


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
    output = open_output(load_settings(config))
    size = export_bundle(output.at_hand({paths.MODEL: BUNDLE_PARTS}), dest)
    click.echo(f"The bundle is in {dest} ({size / 1e6:.2f} MB). Serve it: python Code/webservice.py --model {dest}")
