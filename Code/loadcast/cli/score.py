"""Scoring the hours to come: statistics → features → the service → a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from loadcast.api.forecasts import coming_hours
from loadcast.cli.common import friendly
from loadcast.cli.usage import Command
from loadcast.report.forecast import MOST_TABLED_SERVERS, Picture, as_json, save_svg, show
from loadcast.secrets import shown
from loadcast.serving.client import DEFAULT_BATCH, DEFAULT_URL, ScoringClient, by_server
from loadcast.serving.contract import MAX_RECORDS
from loadcast.serving.server import read_key
from loadcast.serving.statistics import FeatureSource
from loadcast.settings import Settings, load_settings, parse_time


@dataclass(frozen=True)
class ScoreOptions:
    """What to score, and by which service. No `servers`: all with statistics; no `begin`: after the newest hour."""

    servers: tuple[str, ...] = ()
    begin: datetime | None = None
    url: str = DEFAULT_URL
    key: str | None = None
    batch_size: int = DEFAULT_BATCH
    model: Path | None = None


def forecast(settings: Settings, options: ScoreOptions, with_tables: bool | None = None) -> Picture:
    """Score the next 48 hours of each server. `with_tables` None: tables for few servers. Raises LoadcastError."""
    coming = coming_hours(settings, options.servers or None, options.begin, options.model)
    with ScoringClient(options.url, options.key) as client:
        forecasts = by_server(client.score_in_batches(_records(coming.sources), options.batch_size))
    few = len(forecasts) <= MOST_TABLED_SERVERS
    notes = _notes(coming.newest, coming.begin)
    return Picture(forecasts, settings.timezone, few if with_tables is None else with_tables, notes)


def _records(sources: list[FeatureSource]) -> Iterator[dict[str, Any]]:
    console = Console(stderr=True)
    for source in track(sources, "Scoring", console=console, transient=True, disable=not console.is_terminal):
        yield from source.records()


def _notes(newest: datetime, begin: datetime) -> list[str]:
    if begin <= newest + timedelta(hours=1):
        return []
    return [f"Statistics end at {newest}; the hours from there to {begin} count as hours without sessions."]


def _time(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
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
    batch, key = options.pop("batch"), read_key(key_file)
    picture = forecast(load_settings(config), ScoreOptions(**options, key=key, batch_size=batch), table)
    if form == "json":
        click.echo(as_json(picture))
    else:
        show(picture, Console())
    if svg is not None:
        save_svg(picture, svg)
        click.echo(f"The picture is in {shown(svg)}.", err=True)
