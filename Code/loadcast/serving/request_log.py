"""One event for each request that the service answers. It holds no body, no key, and of the path only the route."""

from __future__ import annotations

import logging

from loadcast.logs.events import SERVICE, Value, log_plain
from loadcast.serving.exchange import Exchange

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))


def log_request(exchange: Exchange, status: int, duration_s: float, probes: frozenset[str]) -> None:
    """Log a request that is answered.

    Successful requests of the routes `probes` are events of level debug, failures of the service warnings.
    """
    level = _level(status, exchange.route in probes)
    if not SERVICE.isEnabledFor(level):
        return
    fields: dict[str, Value] = {
        "method": exchange.method if exchange.method in _METHODS else "other",
        "route": exchange.route,
        "status": status,
        "duration_ms": round(1_000 * duration_s, 3),
        "request_id": exchange.request_id,
    }
    if exchange.key is not None:
        fields["key"] = exchange.key
    if exchange.scored is not None:
        fields["records"] = exchange.scored.n_records
    log_plain(SERVICE, level, "request", "A request was answered.", fields)


def _level(status: int, is_probe: bool) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if is_probe and status < 400 else logging.INFO
