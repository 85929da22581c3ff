"""The scoring service as a Flask application; every fault is JSON with the right status, whichever layer finds it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from loadcast.errors import ConfigError
from loadcast.serving.defaults import MAX_BODY_BYTES
from loadcast.serving.envelope import BatchHandler, Envelope, Paths
from loadcast.serving.exchange import IN_ENVIRON, JSON, Exchange, Reply
from loadcast.serving.faults import MediaTypeError, fault, reply_to
from loadcast.serving.gate import Gate, KeySource, RateLimit
from loadcast.serving.metrics import Metrics
from loadcast.serving.routes import forecasts, inference, pages
from loadcast.serving.routes.score import check_name, score
from loadcast.serving.service import Scorer, Service

if TYPE_CHECKING:
    from loadcast.serving.gate_file import LiveGate

#: Where the Service stands among the application's extensions: its `use` replaces the model.
SERVICE = "loadcast"
PROBES = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
DOCS = "/docs"
#: Targets that begin so may take long, however short the request: files are read for them, or much is written.
SLOW_PATHS = (b"/forecast", b"/metrics", b"/openapi.json", b"/docs")
_SCORE = "/score"
_NAMED_SCORE = "/api/v1/service/<service>/score"
_MODEL = "/v2/models/<model>"
_INFER = f"{_MODEL}/infer"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Handler = Callable[..., Reply]


def create_app(
    predictor: Scorer | None,
    *,
    keys: KeySource | None,
    name: str,
    statistics: Path | None = None,
    rate_limit: float | None = None,
    forecast_gate: LiveGate | None = None,
) -> Flask:
    """The application around a predictor.

    `predictor` None stands for a service that is not ready: it answers 503. With `keys` (a KeyFile or Keys), everything
    but the health routes and the page /docs asks for `Authorization: Bearer <key>`. `name` is the service's name in
    /api/v1/service/<name>/score, and its model's in /v2/models/<name>. `statistics` is the output folder that /forecast
    answers from, through `forecast_gate` where there is one. `rate_limit` is how many requests a second this process
    takes of each key. Raises ConfigError.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name: found {name[:70]!r}, wanted 1 to 64 letters, digits, '.', '_' or '-'.")
    app = Flask("loadcast", static_folder=None)
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # One byte more than is taken: a body without a length is cut there, and the contract sees that it is too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    gate = Gate(keys, None if rate_limit is None else RateLimit(rate_limit))
    routes = _routes()
    metrics = Metrics([rule for rule, _, _ in routes])
    service = Service(
        predictor, name=name, gate=gate, metrics=metrics, statistics=statistics, forecast_gate=forecast_gate
    )
    for rule, method, handler in routes:
        app.add_url_rule(rule, f"{method} {rule}", _view(service, rule, handler), methods=[method])
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, lambda error: _response(reply_to(error, _exchange())))
    app.extensions[SERVICE] = service
    app.wsgi_app = Envelope(app.wsgi_app, service, _paths(name, routes))  # type: ignore[method-assign]
    return app


def _routes() -> list[tuple[str, str, Handler]]:
    """Rule, method and handler of each route."""
    versioned = f"{_MODEL}/versions/<version>"
    return [
        (_SCORE, "POST", _score),
        (_NAMED_SCORE, "POST", _score),
        ("/forecast", "GET", lambda service, exchange: forecasts.forecast(service, exchange, request.query_string)),
        ("/health/live", "GET", pages.live),
        ("/health/ready", "GET", pages.ready),
        ("/", "GET", pages.about),
        ("/metrics", "GET", pages.metrics),
        ("/openapi.json", "GET", pages.openapi),
        (DOCS, "GET", pages.docs),
        ("/problems/<kind>", "GET", pages.problem_kind),
        ("/v2", "GET", inference.server),
        ("/v2/health/live", "GET", inference.live),
        ("/v2/health/ready", "GET", inference.ready),
        *((prefix, "GET", inference.model) for prefix in (_MODEL, versioned)),
        *((f"{prefix}/ready", "GET", inference.model_ready) for prefix in (_MODEL, versioned)),
        *((f"{prefix}/infer", "POST", _infer) for prefix in (_MODEL, versioned)),
    ]


def _paths(name: str, routes: list[tuple[str, str, Handler]]) -> Paths:
    plain = {rule: rule for rule, _, _ in routes if "<" not in rule}
    batches: dict[str, tuple[str, BatchHandler]] = {
        _SCORE: (_SCORE, score),
        _NAMED_SCORE.replace("<service>", name): (_NAMED_SCORE, score),
        _INFER.replace("<model>", name): (_INFER, partial(inference.infer, model=name)),
    }
    return Paths(frozenset((*PROBES, DOCS)), plain, batches, frozenset(PROBES))


def _view(service: Service, rule: str, handler: Handler) -> Callable[..., Response]:
    def view(**parts: str) -> Response:
        exchange = _exchange()
        exchange.route = rule
        return _response(handler(service, exchange, **parts))

    return view


def _score(wanted: Service, exchange: Exchange, service: str | None = None) -> Reply:
    if service is not None:
        check_name(wanted, service)
    return score(wanted, exchange, _body())


def _infer(service: Service, exchange: Exchange, **parts: str) -> Reply:
    return inference.infer(service, exchange, _body(), **parts)


def _body() -> bytes:
    """The request's body. Raises MediaTypeError."""
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != JSON or charset not in ("utf-8", "utf8", "us-ascii"):
        value = request.headers.get("Content-Type", "none")
        raise MediaTypeError(f"Content-Type: found {value[:100]}, wanted {JSON} in UTF-8.")
    if "Content-Encoding" in request.headers:
        value = request.headers["Content-Encoding"]
        raise MediaTypeError(f"Content-Encoding: found {value[:100]}, wanted none.")
    return request.get_data(cache=False)


def _exchange() -> Exchange:
    exchange: Exchange = request.environ[IN_ENVIRON]
    return exchange


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers, content_type=reply.media_type)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    messages = {
        404: f"There is nothing at {request.path[:100]}. GET / lists what there is.",
        405: f"{request.method[:20]} is not possible at {request.path[:100]}. The header Allow says what is.",
        413: f"The body is too large, wanted at most {MAX_BODY_BYTES} bytes. Send smaller batches.",
    }
    # Some statuses need a header of their own, such as Allow with 405.
    own: Any = error.get_headers()
    headers = tuple((name, value) for name, value in own if name.lower() not in ("content-type", "content-length"))
    detail = messages.get(status, f"{error.name}: {error.description}")
    return _response(fault(_exchange(), status, detail, headers))
