"""The forecast of a configuration's servers: statistics → features → the service → a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from loadcast.api.forecasts import coming_hours
from loadcast.report.forecast import Picture
from loadcast.serving.client import ScoringClient, by_server
from loadcast.serving.defaults import DEFAULT_BATCH, DEFAULT_URL, MOST_TABLED_SERVERS
from loadcast.serving.statistics import FeatureSource
from loadcast.settings import Settings


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
