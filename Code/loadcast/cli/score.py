"""`loadcast score`: the hours to come, as a table, a strip, JSON or SVG."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from loadcast.cli.common import friendly
from loadcast.cli.usage import Command
from loadcast.secrets import shown
from loadcast.serving.defaults import DEFAULT_BATCH, DEFAULT_URL, MAX_RECORDS, MOST_TABLED_SERVERS


def _time(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    from loadcast.settings import parse_time

    try:
        return None if value is None else parse_time(value)
    except ValueError as exc:
        raise click.BadParameter(f"found {value!r}, {exc}") from None


@click.command(cls=Command)
@click.argument("config", type=click.Path())
@click.option("--server", "servers", multiple=True, metavar="IP", help="Only this server; may be given several times.")
@click.option(
    "--from", "begin", callback=_time, metavar='"yyyy-MM-dd HH:mm:ss"', help="First hour.  [default: after the newest]"
)
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Address of the scoring service.")
@click.option("--key-file", type=click.Path(), help="File with the service's key; else LOADCAST_SERVICE_KEY holds it.")
@click.option(
    "--batch",
    default=DEFAULT_BATCH,
    show_default=True,
    type=click.IntRange(1, MAX_RECORDS),
    help="Records a request.",
)
@click.option("--model", type=click.Path(path_type=Path), help="Bundle in use.  [default: the output's newest]")
@click.option("--format", "form", default="table", show_default=True, type=click.Choice(["table", "json"]))
@click.option("--table/--no-table", default=None, help=f"All numbers.  [default: up to {MOST_TABLED_SERVERS} servers]")
@click.option("--svg", type=click.Path(path_type=Path), help="Save the picture as an SVG file, too.")
@friendly
def score(config: str, form: str, table: bool | None, svg: Path | None, key_file: str | None, **options: Any) -> None:
    """Ask the scoring service for the load class of each server in the next 48 hours.

    The features come from the hourly and daily statistics in the output of CONFIG, as ETL or the statistics run wrote
    them.

    \b
    Examples:
      python Code/scoring_webservice.py Config/demo.json
      python Code/scoring_webservice.py Config/demo.json --server 115.220.193.16 --from "2016-07-01 00:00:00"
    """
    from rich.console import Console

    from loadcast.cli.forecasts import ScoreOptions, forecast
    from loadcast.report.forecast import as_json, save_svg, show
    from loadcast.serving.keys import read_key
    from loadcast.settings import load_settings

    batch, key = options.pop("batch"), read_key(key_file)
    picture = forecast(load_settings(config), ScoreOptions(**options, key=key, batch_size=batch), table)
    if form == "json":
        click.echo(as_json(picture))
    else:
        show(picture, Console())
    if svg is not None:
        save_svg(picture, svg)
        click.echo(f"The picture is in {shown(svg)}.", err=True)
