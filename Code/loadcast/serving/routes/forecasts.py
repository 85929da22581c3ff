"""`/forecast`: the classes of one server's next hours, from the statistics that the service holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from loadcast import schema
from loadcast.addresses import canonical_address
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, InputError, RequestError
from loadcast.logs.events import SERVICE
from loadcast.serving.answer_rule import as_json
from loadcast.serving.exchange import Exchange, Reply, json_reply
from loadcast.serving.faults import NotFoundError
from loadcast.serving.request_contract import shown
from loadcast.serving.scored import Scored
from loadcast.serving.service import ServedModel, Service
from loadcast.settings import parse_time

if TYPE_CHECKING:
    from loadcast.serving.answering import GateInUse
    from loadcast.serving.feature_source import FeatureSource

_PARAMETERS = ("server", "from")
_LONGEST_QUERY = 4


def forecast(service: Service, exchange: Exchange, query: bytes) -> Reply:
    """The schema.HORIZON_HOURS hours from `from`, else after the newest hour with statistics, of `server`.

    Raises RequestError, NotFoundError for a server or a service without statistics, and ArtefactError where these
    cannot be used. Behind a gate that counts for these hours, naive forecasts may answer.
    """
    server, begin = _asked(query)
    served = service.served
    if service.statistics is None:
        raise NotFoundError("This service holds no statistics. Start it with --statistics OUTPUT.")
    source = _source(service.statistics, served.predictor.info, server, begin)
    try:
        records = list(source.records())
    except InputError as error:
        raise _unusable(error) from error
    contract = served.predictor.contract
    exchange.scored = served.predictor.score_table(contract.read_records(records))
    if service.forecast_gate is not None:
        gate = service.forecast_gate.for_forecast(served.predictor.info, source.begin, is_next=begin is None)
        if gate is not None:
            exchange.scored = _let_through(gate, source, exchange.scored, served)
    hours = list(exchange.scored.answers().values())
    for hour in hours:
        hour.pop(schema.BOUNDS, None)  # they are the same for all, and named once
    body: dict[str, Any] = {
        "server": source.server,
        "from": source.begin.strftime(schema.TIME_FORMAT),
        "model": {"name": service.name, "version": served.version},
        schema.BOUNDS: as_json(served.answer_rule.bounds.bounds(source.server)),
        "hours": hours,
    }
    return json_reply(body)


def _let_through(gate: GateInUse, source: FeatureSource, said: Scored, served: ServedModel) -> Scored:
    """What comes through a gate of what the model said, which stands beside it."""
    through = gate.let_through(source, said.labels, said.probabilities)
    further = {
        **served.answer_rule.fields(said.servers, through.probabilities),
        schema.ANSWERED_BY: through.answered_by,
        schema.MODEL: [
            {schema.PREDICTION: label, "probability": dict(zip(schema.CLASS_NAMES.values(), shares, strict=True))}
            for label, shares in zip(said.labels.tolist(), said.probabilities.tolist(), strict=True)
        ],
    }
    return replace(said, labels=through.labels, probabilities=through.probabilities, further=further)


def _asked(query: bytes) -> tuple[str, datetime | None]:
    """Server and first hour of a query. Raises RequestError."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=_LONGEST_QUERY, errors="strict")
    except ValueError as error:
        raise RequestError("The query is no query, wanted ?server=ADDRESS&from=yyyy-MM-ddTHH:mm:ss.") from error
    given = dict(pairs)
    odd = [name for name, _ in pairs if name not in _PARAMETERS]
    if odd or len(given) != len(pairs):
        what = shown(odd[0]) if odd else "a name twice"
        raise RequestError(f"The query has {what}, wanted server and from, each once.")
    asked = given.get("server", "")
    try:
        server = canonical_address(asked)
    except ValueError:
        raise RequestError(f"server: found {shown(asked)!r}, wanted an IPv4 or IPv6 address.") from None
    return server, _hour(given["from"]) if "from" in given else None


def _hour(text: str) -> datetime:
    try:
        time = parse_time(text.replace("T", " ", 1))
    except ValueError:
        time = None
    if time is None or time.minute or time.second:
        raise RequestError(f"from: found {shown(text)!r}, wanted a whole hour such as 2016-07-01T00:00:00.")
    return time


def _source(output: Path, info: Info, server: str, begin: datetime | None) -> FeatureSource:
    # It needs pandas, which takes a second to come: who never asks for a forecast does not wait for it.
    from loadcast.serving.statistics import (
        BeginError,
        UnknownServerError,
        newest_hour,
        open_statistics,
        scoring_features,
    )

    try:
        # The model that answers decides which features there are, and not the one in the output.
        statistics = replace(
            open_statistics(output),
            train_begin=info.train_begin,
            holiday_country=info.holiday_country,
            features=info.features,
            rule=info.label_rule,
        )
        first = newest_hour(statistics) + timedelta(hours=1) if begin is None else begin
        (source,) = scoring_features(statistics, [server], first)
    except UnknownServerError as error:
        raise NotFoundError(
            f"There are no statistics of server {server} before the forecast's start, but of {', '.join(error.known)}."
        ) from error
    except BeginError as error:
        wanted = "an hour later than the first with statistics, and at most a year after the newest"
        raise NotFoundError(f"No forecast can begin at {first}, wanted {wanted}.") from error
    except (InputError, ArtefactError) as error:
        raise _unusable(error) from error
    return source


def _unusable(error: Exception) -> ArtefactError:
    # Its words name folders of this machine.
    SERVICE.warning("the statistics cannot be used: %s", error)
    return ArtefactError("The statistics of this service cannot be used. Its log says why.")
