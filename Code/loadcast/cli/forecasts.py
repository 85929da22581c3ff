"""The forecast of a configuration's servers: statistics → features → the service → a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from loadcast.api.forecasts import coming_hours
from loadcast.artefacts.gate import GateFile, read_gate
from loadcast.errors import LoadcastError, PartialForecastError, ServiceError
from loadcast.progress import Progress, silent
from loadcast.report.forecast import Picture
from loadcast.serving.answering import GateInUse, check_served
from loadcast.serving.client import ScoringClient
from loadcast.serving.defaults import DEFAULT_BATCH, DEFAULT_CONNECTIONS, DEFAULT_URL, MOST_TABLED_SERVERS
from loadcast.serving.feature_source import FeatureSource
from loadcast.serving.remote.answers import with_bounds
from loadcast.serving.remote.servers import Outcome
from loadcast.settings import Settings

_NAMED_SERVERS = 10
_NAMED_REASONS = 5


@dataclass(frozen=True)
class ScoreOptions:
    """What to score, and by which service. No `servers`: all with statistics; no `begin`: after the newest hour."""

    servers: tuple[str, ...] = ()
    begin: datetime | None = None
    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)
    batch_size: int = DEFAULT_BATCH
    connections: int = DEFAULT_CONNECTIONS
    deadline_s: float | None = None
    model: Path | None = None
    gate: Path | None = None


def forecast(
    settings: Settings, options: ScoreOptions, with_tables: bool | None = None, progress: Progress = silent
) -> Picture:
    """Score the next 48 hours of each server. `with_tables` None: tables for few servers.

    Servers that were not answered stand in the picture's `unanswered`. Raises LoadcastError where none was.
    """
    content = None if options.gate is None else read_gate(options.gate)
    coming = coming_hours(settings, options.servers or None, options.begin, options.model)
    gate = None if content is None else GateInUse.of(content, coming.info, coming.begin)
    outcomes = _outcomes(coming.sources, options, progress, None if gate is None else gate.content)
    answered = [outcome.forecast for outcome in outcomes if outcome.forecast is not None]
    forecasts = [replace(of_one, hours=tuple(with_bounds(of_one.hours, coming.bounds))) for of_one in answered]
    if gate is not None:
        sources = {source.server: source for source in coming.sources}
        forecasts = [replace(one, hours=tuple(gate.answers(sources[one.server], one.hours))) for one in forecasts]
    unanswered = {outcome.server: outcome.error for outcome in outcomes if outcome.error is not None}
    if not forecasts:
        raise _nothing_answered(unanswered)
    few = len(forecasts) <= MOST_TABLED_SERVERS
    notes = _notes(coming.newest, coming.begin)
    if options.gate is not None and gate is None:
        notes.append("The gate is stale, or younger than this forecast, and does not count: the model answers.")
    reasons = {server: str(error) for server, error in unanswered.items()}
    return Picture(forecasts, settings.timezone, few if with_tables is None else with_tables, notes, reasons)


def check_complete(picture: Picture) -> None:
    """Raise PartialForecastError where a server was not answered; it names which, and why."""
    if picture.unanswered:
        answered = len(picture.forecasts)
        total = answered + len(picture.unanswered)
        lines = _by_reason({server: why.split("\n")[0] for server, why in picture.unanswered.items()})
        raise PartialForecastError(f"The forecast is partial: {answered} of {total} servers were answered.", *lines)


def _outcomes(
    sources: Sequence[FeatureSource], options: ScoreOptions, progress: Progress, gate: GateFile | None
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    client = ScoringClient(options.url, options.key, connections=options.connections, deadline_s=options.deadline_s)
    with client, progress("Scoring") as update:
        for outcome in client.score_servers(sources, options.batch_size):
            outcomes.append(outcome)
            update(len(outcomes), len(sources))
        if gate is not None and any(outcome.forecast is not None for outcome in outcomes):
            # Afterwards, as a service may take another model meanwhile.
            check_served(gate, client.model_versions())
    return outcomes


def _nothing_answered(unanswered: dict[str, LoadcastError]) -> LoadcastError:
    errors = list(unanswered.values())
    if len({str(error) for error in errors}) == 1:
        return errors[0]
    lines = _by_reason({server: str(error).split("\n")[0] for server, error in unanswered.items()})
    return ServiceError(f"None of {len(errors)} servers was answered.", *lines)


def _by_reason(reasons: dict[str, str]) -> list[str]:
    """A line for each reason, with the servers that it holds for; the commonest first, and not endlessly many."""
    servers: dict[str, list[str]] = {}
    for server, why in reasons.items():
        servers.setdefault(why, []).append(server)
    lines = []
    for why, names in sorted(servers.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - _NAMED_SERVERS} more" if len(names) > _NAMED_SERVERS else ""
        lines.append(f"Not answered: {', '.join(names[:_NAMED_SERVERS])}{more}: {why}")
    rest = len(lines) - _NAMED_REASONS
    return lines[:_NAMED_REASONS] + ([f"{rest} other reason(s) are in the JSON output."] if rest > 0 else [])


def _notes(newest: datetime, begin: datetime) -> list[str]:
    if begin <= newest + timedelta(hours=1):
        return []
    return [f"Statistics end at {newest}; the hours from there to {begin} count as hours without sessions."]
