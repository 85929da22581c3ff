"""`loadcast download`: the newest model of a configuration's output, as a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from loadcast.cli.common import friendly
from loadcast.cli.hints import typed
from loadcast.cli.usage import Command
from loadcast.progress import Update
from loadcast.secrets import shown


@click.command(cls=Command)
@click.argument("config", type=click.Path())
@click.argument("dest", required=False, type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="All artefacts of the model's run, features included.")
@friendly
def download(config: str, dest: Path | None, everything: bool) -> None:
    """Download the newest model of CONFIG's output to the folder DEST, replacing a model that is there.

    A model is all that the service needs: the encoders, the scaler, the model, `info` and metrics.json. Its files are
    checked against the checksums in `info`, and DEST appears when all are there. After an interruption start the same
    command again: it goes on where it stood. Without DEST: Model-CONTAINER, such as Model-fullmodel.

    \b
    Examples:
      python Code/download_model.py Config/fulldata_storageconfig.json
      python Code/download_model.py Config/fulldata_storageconfig.json Model
    """
    from loadcast.settings import load_settings
    from loadcast.storage.download import download_model
    from loadcast.storage.output import open_output

    output = open_output(load_settings(config))
    dest = dest or Path(f"Model-{_last_part(output.shown)}")  # Model itself comes with loadcast
    done = download_model(output, dest, everything, _bar)
    click.echo(f"The model of run {done.run} is in {shown(dest)} ({done.files:,} files, {done.size / 1e6:,.2f} MB).")
    click.echo(f"Serve it: {typed('serve', '--model', shown(dest))}")


def _last_part(address: str) -> str:
    """Of a folder or URL, such as the container's name."""
    return Path(address if "://" in address else Path(address).absolute()).name


@contextmanager
def _bar(title: str) -> Iterator[Update]:
    """A bar of bytes on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
