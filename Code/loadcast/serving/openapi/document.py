"""The document: routes, parameters, and every answer that any layer of the service may give."""

from __future__ import annotations

from typing import Any

from loadcast import __version__, schema
from loadcast.serving.openapi import schemas
from loadcast.serving.openapi.schemas import Schema, closed
from loadcast.serving.problems import KINDS, PROBLEM_JSON, Kind
from loadcast.serving.service import Service

_JSON = "application/json"
#: Whatever is asked for, each layer may refuse it in these ways.
_ALWAYS = ("request", "key", "method", "timeout", "too-large", "rate", "head-too-large", "failure", "unavailable")
_HEADERS = {"key": "WWW-Authenticate", "method": "Allow", "rate": "Retry-After"}
_OPEN: list[dict[str, list[str]]] = [{}]
_DESCRIPTION = (
    "The load class (low, medium, high) of servers for hours to come. Faults are problem details (RFC 9457). "
    "Each answer has a header X-Request-ID, which a request may set."
)


def document(service: Service) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service and the model that it has at this moment."""
    contract = service.served.predictor.contract if service.is_ready else None
    rule = service.served.answer_rule if service.is_ready else None
    components = schemas.answer_schemas(rule, is_gated=service.forecast_gate is not None)
    examples: dict[str, Any] = {}
    if contract is None:
        components |= {"Record": {"type": "object"}, "Batch": {"type": "array"}, "InferenceRequest": {"type": "object"}}
    else:
        components |= {
            "Record": schemas.record_schema(contract),
            "Batch": schemas.batch_schema(contract),
            "InferenceRequest": schemas.inference_request(contract, rule),
        }
        examples = {"score": [schemas.example_record(contract)], "infer": schemas.example_inference(contract)}
    locked = service.gate.is_locked
    return {
        "openapi": "3.1.0",
        "info": {"title": f"loadcast: {service.name}", "version": __version__, "description": _DESCRIPTION},
        "security": [{"bearer": []}] if locked else [*_OPEN, {"bearer": []}],
        "paths": _paths(service, examples),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "The service's key."}},
            "responses": {kind.name: _response(kind) for kind in KINDS.values() if kind.name != "contract"},
            "schemas": components,
        },
    }


def _paths(service: Service, examples: dict[str, Any]) -> dict[str, Any]:
    score = _batch("score", "The load class of each record", "Batch", _ref("Answers"), examples.get("score"))
    named = {"name": "service", "in": "path", "required": True, "schema": {"enum": [service.name]}}
    about = closed(
        {
            "service": _TEXT,
            "loadcast": _TEXT,
            "what": _TEXT,
            "routes": {"type": "array", "items": _TEXT},
        }
    )
    kind = {"name": "kind", "in": "path", "required": True, "schema": {"enum": list(KINDS)}}
    page = {"description": "HTML.", "content": {"text/html": {"schema": _TEXT}}}
    counts = {"description": "Counts of all processes.", "content": {"text/plain": {"schema": _TEXT}}}
    return {
        "/score": {"post": score},
        "/api/v1/service/{service}/score": {
            "post": {**_with_not_found(score), "operationId": "score_by_name", "parameters": [named]}
        },
        "/forecast": {"get": _forecast()},
        "/health/live": {"get": _health("live", "Whether the process runs", "status", "live")},
        "/health/ready": {"get": _health("ready", "Whether a model is loaded", "status", "ready", "loading", "ending")},
        "/": {"get": _get("about", "What this service is", _answer(about))},
        "/metrics": {"get": _get("metrics", "Counts in Prometheus' text format", counts)},
        "/openapi.json": {"get": _get("openapi", "This document", _answer({"type": "object"}))},
        "/docs": {"get": {**_get("docs", "A page that shows this document", page), "security": _OPEN}},
        "/problems/{kind}": {
            "get": {
                **_with_not_found(_get("problem", "What a problem's type stands for", _answer(_ref("ProblemKind")))),
                "parameters": [kind],
            }
        },
        **_inference_paths(service, examples.get("infer")),
    }


def _forecast() -> dict[str, Any]:
    get = _get("forecast", f"The classes of a server's next {schema.HORIZON_HOURS} hours", _answer(_ref("Forecast")))
    time = {**schemas.time_schema(schemas.WHOLE_HOUR_PATTERN), "description": "The first hour; else after the newest."}
    return {
        **_with_not_found(get),
        "parameters": [
            {"name": "server", "in": "query", "required": True, "schema": schemas.ADDRESS},
            {"name": "from", "in": "query", "required": False, "schema": time},
        ],
    }


def _inference_paths(service: Service, example: Any) -> dict[str, Any]:
    model = {"name": "model", "in": "path", "required": True, "schema": {"enum": [service.name]}}
    versions = [service.served.version] if service.is_ready else ["none"]
    version = {"name": "version", "in": "path", "required": True, "schema": {"enum": versions}}
    ready = closed({"name": _TEXT, "ready": {"const": True}})
    infer = _batch("infer", "Answers in columns", "InferenceRequest", _ref("InferenceAnswer"), example)
    paths: dict[str, Any] = {
        "/v2": {"get": _get("v2", "What answers here", _answer(_ref("InferenceServer")))},
        "/v2/health/live": {"get": _health("v2_live", "Whether the process runs", "live", True)},
        "/v2/health/ready": {"get": _health("v2_ready", "Whether a model is loaded", "ready", True, False)},
    }
    for end, more, parameters in (("", "", [model]), ("/versions/{version}", "_version", [model, version])):
        path = f"/v2/models/{{model}}{end}"
        operations = {
            path: ("get", _get("v2_model", "What the model takes and gives", _answer(_ref("InferenceModel")))),
            f"{path}/ready": ("get", _get("v2_model_ready", "Whether this model is loaded", _answer(ready))),
            f"{path}/infer": ("post", infer),
        }
        for route, (method, operation) in operations.items():
            named = {"operationId": f"{operation['operationId']}{more}", "parameters": parameters}
            paths[route] = {method: {**_with_not_found(operation), **named}}
    return paths


_TEXT: Schema = {"type": "string"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(body: Schema) -> dict[str, Any]:
    return {"description": "The answer.", "content": {_JSON: {"schema": body}}}


def _problem(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/{name}"}


def _faults(*names: str) -> dict[str, Any]:
    return {str(KINDS[name].status): _problem(name) for name in sorted(names, key=lambda name: KINDS[name].status)}


def _get(name: str, summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": {"200": answer, **_faults(*_ALWAYS)}}


def _batch(name: str, summary: str, body: str, answer: Schema, example: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _ref(body)}
    if example is not None:
        content["example"] = example
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": {_JSON: content}},
        "responses": {"200": _answer(answer), **_faults(*_ALWAYS, "media-type")},
    }


def _health(name: str, summary: str, field: str, well: Any, *ill: Any) -> dict[str, Any]:
    operation = _get(name, summary, _answer(closed({field: {"const": well}})))
    responses = operation["responses"]
    if ill:
        not_yet = {**_response(KINDS["unavailable"]), "description": "Not yet."}
        not_yet["content"] = {_JSON: {"schema": closed({field: {"enum": list(ill)}})}, **not_yet["content"]}
        responses = {**responses, "503": not_yet}
    return {**operation, "responses": responses, "security": _OPEN}


def _with_not_found(operation: dict[str, Any]) -> dict[str, Any]:
    responses = dict(sorted({**operation["responses"], **_faults("not-found")}.items()))
    return {**operation, "responses": responses}


def _response(kind: Kind) -> dict[str, Any]:
    headers = {"X-Request-ID": {"schema": _TEXT}}
    if kind.name in _HEADERS:
        headers[_HEADERS[kind.name]] = {"schema": _TEXT}
    content = {PROBLEM_JSON: {"schema": _ref("Problem")}}
    return {"description": f"{kind.title}. {kind.remedy}", "headers": headers, "content": content}
