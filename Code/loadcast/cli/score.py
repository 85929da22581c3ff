"""`loadcast score`: the hours to come, as a table, a strip, CSV, Parquet, JSON or SVG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadcast.cli.common import friendly
from loadcast.cli.usage import Command
from loadcast.secrets import shown
from loadcast.serving.defaults import (
    DEFAULT_BATCH,
    DEFAULT_CONNECTIONS,
    DEFAULT_URL,
    MAX_CONNECTIONS,
    MAX_DEADLINE_S,
    MAX_RECORDS,
    MOST_TABLED_SERVERS,
)

if TYPE_CHECKING:
    from loadcast.progress import Update
    from loadcast.report.forecast import Picture


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
    "batch_size",
    default=DEFAULT_BATCH,
    show_default=True,
    type=click.IntRange(1, MAX_RECORDS),
    help="Records a request, as far as its size allows.",
)
@click.option(
    "--connections",
    default=DEFAULT_CONNECTIONS,
    show_default=True,
    type=click.IntRange(1, MAX_CONNECTIONS),
    help="Requests under way at a time.",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=click.IntRange(1, MAX_DEADLINE_S),
    metavar="SECONDS",
    help="Ask for so long, waiting included.  [default: no end]",
)
@click.option("--model", type=click.Path(path_type=Path), help="Bundle in use.  [default: the output's newest]")
@click.option(
    "--gate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Let naive forecasts answer where they are better, as loadcast monitor --gate FILE has found.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    help="[default: as --output's name ends, else table]",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write there, whole or not at all.")
@click.option("--table/--no-table", default=None, help=f"All numbers.  [default: up to {MOST_TABLED_SERVERS} servers]")
@click.option("--svg", type=click.Path(path_type=Path), help="Save the picture as an SVG file, too.")
@friendly
def score(config: str, key_file: str | None, table: bool | None, **options: Any) -> None:
    """Ask the scoring service for the load class of each server in the next 48 hours.

    The features come from the hourly and daily statistics in the output of CONFIG, as ETL or the statistics run wrote
    them. Where only some servers could be answered, these are written, and the exit code is 11.

    \b
    Examples:
      python Code/scoring_webservice.py Config/demo.json
      python Code/scoring_webservice.py Config/demo.json --server 115.220.193.16 --from "2016-07-01 00:00:00"
      python Code/scoring_webservice.py Config/demo.json --output forecast.parquet --connections 8 --deadline 600
      loadcast score Config/demo.json --gate gate.json --output forecast.parquet
    """
    from loadcast.cli.forecasts import ScoreOptions, check_complete, forecast
    from loadcast.report.forecast_files import check_apart, check_output
    from loadcast.serving.keys import read_key
    from loadcast.settings import load_settings

    output, svg, form = (options.pop(name) for name in ("output", "svg", "form"))
    form = _form(form, output)
    check_apart({"CONFIG": config, "--gate": options["gate"], "--output": output, "--svg": svg})
    for path, option in ((output, "--output"), (svg, "--svg")):
        if path is not None:
            check_output(path, option)
    wanted = ScoreOptions(**options, key=read_key(key_file))
    picture = forecast(load_settings(config), wanted, table, _bar)
    _give(picture, form, output, svg)
    check_complete(picture)


def _form(form: str | None, output: Path | None) -> str:
    from loadcast.report.forecast_files import format_of

    form = form or format_of(output)
    if form == "parquet" and output is None:
        raise click.UsageError("Parquet is no text; wanted --output FILE, too.")
    return form


def _give(picture: Picture, form: str, output: Path | None, svg: Path | None) -> None:
    """Print the forecasts, or write them."""
    from rich.console import Console

    from loadcast.report.forecast import save_svg, show
    from loadcast.report.forecast_files import encode, write_whole

    if output is not None:
        write_whole(output, encode(picture, form), "--output")
        click.echo(f"The forecast of {len(picture.forecasts)} server(s) is in {shown(output)}.", err=True)
    elif form == "table":
        show(picture, Console())
    else:
        click.echo(encode(picture, form), nl=False)
    if svg is not None:
        save_svg(picture, svg)
        click.echo(f"The picture is in {shown(svg)}.", err=True)


@contextmanager
def _bar(title: str) -> Iterator[Update]:
    """A bar of servers on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from loadcast.logs.setup import stderr_console
    from loadcast.progress import logged_step

    console = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown_bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with logged_step(title), shown_bar as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
