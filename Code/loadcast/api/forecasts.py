"""The hours to come: published statistics → features → the model, in this process or behind a service."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from loadcast import paths, schema
from loadcast.api.opened import Where, load_model
from loadcast.artefacts.gate import GateFile, read_gate
from loadcast.artefacts.info import Info
from loadcast.errors import ConfigError
from loadcast.kernels.labels import LabelRule
from loadcast.serving.answering import GateInUse, check_served
from loadcast.serving.client import ScoringClient
from loadcast.serving.defaults import DEFAULT_BATCH
from loadcast.serving.feature_source import FeatureSource
from loadcast.serving.predictor import Predictor
from loadcast.serving.remote.answers import HourForecast, by_server, forecast_table, with_bounds
from loadcast.serving.statistics import newest_hour, open_statistics, scoring_features
from loadcast.settings import Settings, parse_time
from loadcast.storage.output import open_output

# Statistics come by the month, as far as they are wanted.
_NEEDED = {paths.CURRENT: (paths.INFO,)}
_NEEDED_IF_ANY = {paths.MODEL: (paths.INFO,)}


@dataclass(frozen=True)
class ComingHours:
    """What makes the features of the hours from `begin`, server by server; `newest` is the last hour known.

    `bounds` are those of classes in the model in use, as far as is known here, and `info` is what describes it.
    """

    newest: datetime
    begin: datetime
    sources: list[FeatureSource]
    bounds: LabelRule
    info: Info


def coming_hours(
    settings: Settings, servers: Sequence[str] | None, begin: datetime | None, model: Path | None = None
) -> ComingHours:
    """What makes the features of the schema.HORIZON_HOURS hours from `begin` (None: after the newest), for each server.

    `servers` None stands for all that have statistics; `model` is the bundle in use, for statistics without one. Raises
    LoadcastError.
    """
    output = open_output(settings)
    statistics = open_statistics(output.at_hand(_NEEDED, _NEEDED_IF_ANY), model, output.months)
    newest = newest_hour(statistics)
    start = begin or newest + timedelta(hours=1)
    return ComingHours(newest, start, scoring_features(statistics, servers, start), statistics.rule, statistics.info)


def forecast(
    settings: Settings,
    servers: Iterable[str] | None = None,
    begin: datetime | str | None = None,
    model: str | os.PathLike[str] | None = None,
    url: str | None = None,
    key: str | None = None,
) -> pa.Table:
    """Class, probabilities and bounds of each server's next 48 hours (schema.FORECAST_SCHEMA), by server and hour.

    Where the model has costs or minConfidence, there are decisions, too (the columns of schema.DECISION_SCHEMA).
    `servers` None stands for all with statistics in the configured output, `begin` None for the hour after the newest.
    The model answers in this process: the output's newest, or the bundle in the folder `model`. With `url`, and its
    `key` where it wants one, the service there answers instead. Raises LoadcastError.
    """
    bundle = None if model is None else Path(model)
    coming = coming_hours(settings, None if servers is None else list(servers), _time(begin), bundle)
    return forecast_table(_asked(settings if bundle is None else bundle, coming, url, key))


def gated_forecast(
    settings: Settings,
    gate: str | os.PathLike[str],
    servers: Iterable[str] | None = None,
    begin: datetime | str | None = None,
    url: str | None = None,
    key: str | None = None,
) -> pa.Table:
    """The same as `forecast`, behind the gate in the file `gate`, which `loadcast monitor --gate` has written.

    Where a naive forecast has beaten the newest model by a margin, it answers, and probabilities are mixed. There are
    the columns of schema.GATED_SCHEMA, too: which forecast answers, and what the model itself said. A stale gate is
    warned of in the log, and does not count. Raises LoadcastError, ArtefactError for a gate of another model.
    """
    content = read_gate(Path(gate))
    coming = coming_hours(settings, None if servers is None else list(servers), _time(begin))
    in_use = GateInUse.of(content, coming.info, coming.begin)
    if in_use is None:
        return forecast_table(_asked(settings, coming, url, key))
    asked = _asked(settings, coming, url, key, content)
    groups = zip(coming.sources, by_server(asked), strict=True)
    return forecast_table(hour for source, of_one in groups for hour in in_use.answers(source, of_one.hours))


def _asked(
    model: Where, coming: ComingHours, url: str | None, key: str | None, gate: GateFile | None = None
) -> Iterator[HourForecast]:
    """What a model answers in this process, or the service, which must be the gate's."""
    if url is None:
        yield from _answered(load_model(model), coming.sources)
        return
    with ScoringClient(url, key) as client:
        records = (record for source in coming.sources for record in source.records())
        yield from with_bounds(client.score_in_batches(records, DEFAULT_BATCH), coming.bounds)
        if gate is not None:
            check_served(gate, client.model_versions())


def _answered(predictor: Predictor, sources: Iterable[FeatureSource]) -> Iterator[HourForecast]:
    """What the service would answer, by the same contract."""
    rule = predictor.info.label_rule
    for source in sources:
        scored = predictor.score_table(predictor.contract.read_records(list(source.records())))
        for answer in scored.answers().values():
            yield HourForecast(
                server=answer[schema.SERVER],
                hour=parse_time(answer[schema.HOUR]),
                label=answer[schema.PREDICTION],
                probabilities=tuple(answer["probability"].values()),
                cold_start=answer[schema.COLD_START],
                decision=answer.get(schema.DECISION),
                expected_cost=answer.get(schema.EXPECTED_COST),
                confident=answer.get(schema.CONFIDENT),
                bounds=rule.bounds(answer[schema.SERVER]),
            )


def _time(begin: datetime | str | None) -> datetime | None:
    try:
        return None if begin is None else parse_time(begin)
    except ValueError as error:
        raise ConfigError(f"begin: found {begin!r}, {error}.") from None
