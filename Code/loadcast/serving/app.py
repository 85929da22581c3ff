"""The scoring service as a Flask application; every answer, faults included, is JSON with the right status."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from typing import Any, Protocol

import pyarrow as pa
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from loadcast import __version__
from loadcast.errors import ArtefactError, AuthError, ConfigError, LoadcastError, RequestError
from loadcast.logs.events import SERVICE
from loadcast.serving.request_contract import MAX_BODY_BYTES, ContractError, RequestContract
from loadcast.serving.request_log import log_requests

JSON = "application/json"
HEALTH = ("/health/live", "/health/ready")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Scorer(Protocol):
    """What the application needs of a predictor."""

    @property
    def contract(self) -> RequestContract:
        """What it takes."""

    def predict(self, table: pa.Table) -> dict[str, dict[str, Any]]:
        """One answer per row, in order."""


def create_app(predictor: Scorer | None, *, key: str | None, name: str) -> Flask:
    """The application around a predictor.

    `predictor` None stands for a service that is not ready: it answers 503. With a `key`, everything but the health
    routes asks for `Authorization: Bearer <key>`. `name` is the service's name in /api/v1/service/<name>/score.
    Raises ConfigError for a name that cannot stand in a URL.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name: found {name[:70]!r}, wanted 1 to 64 letters, digits, '.', '_' or '-'.")
    app = Flask("loadcast", static_folder=None)
    app.url_map.merge_slashes = False
    # One byte more than is taken: a body without a length is cut there, and the contract sees that it is too large.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    log_requests(app, HEALTH)
    if key is not None:
        app.before_request(_gate(key.encode("utf-8")))
    _add_routes(app, predictor, name)
    app.register_error_handler(LoadcastError, _known_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unknown_error)
    return app


def _add_routes(app: Flask, predictor: Scorer | None, name: str) -> None:
    def score() -> Response:
        _check_content_type()
        if predictor is None:
            raise ArtefactError("No model is loaded. Look at the service's log, and try again later.")
        table = predictor.contract.read_request(request.get_data(cache=False))
        g.records = table.num_rows
        return _answer(predictor.predict(table))

    def score_by_name(service: str) -> Response:
        return score() if service == name else _unknown_service(service, name)

    def ready() -> Response:
        return _answer({"status": "ready"} if predictor else {"status": "loading"}, 200 if predictor else 503)

    def about() -> Response:
        paths = ["POST /score", f"POST /api/v1/service/{name}/score", *(f"GET {path}" for path in HEALTH)]
        text = "Load class (low, medium, high) per server and hour, from feature records. See Docs/API.md."
        return _answer({"service": name, "loadcast": __version__, "what": text, "routes": paths})

    app.add_url_rule("/score", view_func=score, methods=["POST"])
    app.add_url_rule("/api/v1/service/<service>/score", view_func=score_by_name, methods=["POST"])
    app.add_url_rule("/health/live", "live", lambda: _answer({"status": "live"}), methods=["GET"])
    app.add_url_rule("/health/ready", view_func=ready, methods=["GET"])
    app.add_url_rule("/", view_func=about, methods=["GET"])


def _gate(key: bytes) -> Callable[[], None]:
    def check() -> None:
        if request.path in HEALTH:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # WSGI hands headers over as Latin-1: encoding them back gives the bytes that were sent.
        sent = given.strip().encode("latin-1", "replace")
        if scheme.lower() != "bearer" or not hmac.compare_digest(sent, key):
            raise AuthError("The key is missing or wrong, wanted the header Authorization: Bearer <key>.")

    return check


def _check_content_type() -> None:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != JSON or charset not in ("utf-8", "utf8", "us-ascii"):
        value = request.headers.get("Content-Type", "none")
        raise _UnsupportedMediaType(f"Content-Type: found {value[:100]}, wanted {JSON} in UTF-8.")
    if "Content-Encoding" in request.headers:
        value = request.headers["Content-Encoding"]
        raise _UnsupportedMediaType(f"Content-Encoding: found {value[:100]}, wanted none.")


class _UnsupportedMediaType(RequestError):
    http_status = 415


def _answer(body: object, status: int = 200) -> Response:
    return Response(json.dumps(body, allow_nan=False), status, mimetype=JSON)


def _fault(message: str, status: int, **more: object) -> Response:
    return _answer({"error": {"message": message, **more}}, status)


def _unknown_service(asked: str, name: str) -> Response:
    return _fault(f"There is no service {asked[:70]!r} here, wanted {name!r}.", 404)


def _known_error(exc: LoadcastError) -> Response:
    more: dict[str, object] = {}
    if isinstance(exc, RequestError):
        more["problems"] = exc.problems
        more["problem_count"] = exc.problem_count if isinstance(exc, ContractError) else len(exc.problems)
    response = _fault(str(exc), exc.http_status, **more)
    if isinstance(exc, AuthError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="loadcast"'
    return response


def _http_error(exc: HTTPException) -> Response:
    status = exc.code or 500
    messages = {
        404: f"There is nothing at {request.path[:100]}. GET / lists what there is.",
        405: f"{request.method[:20]} is not possible at {request.path[:100]}. The header Allow says what is.",
        413: f"The body is too large, wanted at most {MAX_BODY_BYTES} bytes. Send smaller batches.",
    }
    response = _fault(messages.get(status, f"{exc.name}: {exc.description}"), status)
    # Some statuses need a header of their own, such as Allow with 405.
    for header, value in exc.get_headers():
        if header.lower() not in ("content-type", "content-length"):
            response.headers[header] = value
    return response


def _unknown_error(exc: Exception) -> Response:
    SERVICE.error("a request failed", exc_info=exc)
    return _fault("The service failed at this request. Its log says why.", 500)
