"""The `loadcast` command: each subcommand is a skin over one function of the library."""

from __future__ import annotations

import click

from loadcast import __version__
from loadcast.cli.datastore import datastore
from loadcast.cli.demo import demo
from loadcast.cli.download import download
from loadcast.cli.published import runs
from loadcast.cli.quality import quality
from loadcast.cli.runs import etl, stats, train
from loadcast.cli.sample import sample
from loadcast.cli.score import score
from loadcast.cli.serve import serve
from loadcast.cli.usage import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loadcast")
def main() -> None:
    """Forecast, for every server and each of the next 48 hours, whether its load will be low, medium or high."""


for _command in (sample, etl, stats, quality, train, serve, score, runs, download, datastore, demo):
    main.add_command(_command)
main.add_command(download, "export")  # its first name
