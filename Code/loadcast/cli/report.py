"""`loadcast report`: a run as one page of HTML, or as pictures."""

from __future__ import annotations

from pathlib import Path

import click

from loadcast.cli.common import friendly
from loadcast.cli.usage import Command


@click.command(cls=Command)
@click.argument("output", type=click.Path())
@click.option(
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The report's file.  [default: report.html in OUTPUT; of a container or a run's own folder, in this folder]",
)
@click.option(
    "--png", metavar="FOLDER", type=click.Path(path_type=Path), help="Write the pictures alone, as PNG files, there."
)
@friendly
def report(output: str, file: Path | None, png: Path | None) -> None:
    """Write a report of the newest run: one page that opens in any browser, without a network.

    It shows how good the forecast is beside every naive one, how far ahead, whether its probabilities hold, which
    servers are forecast well and badly, the load of a usual week, and the quality of the data. OUTPUT is an output
    folder, a run's folder, a container's URL, or the configuration whose output it is.

    \b
    Examples:
      loadcast report output/demo
      loadcast report Config/demo.json --output report.html
      loadcast report output/demo --png pictures
    """
    from loadcast.api.reports import write_report, write_report_pictures

    if png is not None and file is not None:
        raise click.UsageError("--png writes the pictures alone: leave out --output, or run the command twice.")
    written = [write_report(output, file)] if png is None else write_report_pictures(output, png)
    for path in written:
        click.echo(path)
