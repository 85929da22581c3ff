"""`/score`: feature records → classes."""

from __future__ import annotations

from loadcast.serving.exchange import Exchange, Reply
from loadcast.serving.faults import NotFoundError
from loadcast.serving.service import Service


def score(service: Service, exchange: Exchange, body: bytes) -> Reply:
    """The answers to a batch of records. Raises RequestError."""
    exchange.scored = service.served.predictor.score(body)
    return Reply(200, exchange.scored.to_json())


def check_name(service: Service, asked: str) -> None:
    """Raise NotFoundError unless the service has this name."""
    if asked != service.name:
        raise NotFoundError(f"There is no service {asked[:70]!r} here, wanted {service.name!r}.")
