"""Health, counts, and what the service says about itself."""

from __future__ import annotations

from loadcast import __version__
from loadcast.serving import docs_page
from loadcast.serving.exchange import Exchange, Reply, json_reply
from loadcast.serving.faults import NotFoundError
from loadcast.serving.metrics import exposition
from loadcast.serving.openapi import document
from loadcast.serving.problems import KINDS, PREFIX
from loadcast.serving.service import Service


def live(service: Service, exchange: Exchange) -> Reply:
    """200 while the process runs."""
    return json_reply({"status": "live"})


def ready(service: Service, exchange: Exchange) -> Reply:
    """200 once a model is loaded, until the process ends."""
    if exchange.is_draining:
        return json_reply({"status": "ending"}, 503)
    return json_reply({"status": "ready"}) if service.is_ready else json_reply({"status": "loading"}, 503)


def about(service: Service, exchange: Exchange) -> Reply:
    """What this service is."""
    operations = document(service)["paths"]
    routes = [f"{method.upper()} {path}" for path, methods in operations.items() for method in methods]
    what = "Load class (low, medium, high) per server and hour, from feature records. See /docs."
    return json_reply({"service": service.name, "loadcast": __version__, "what": what, "routes": routes})


def metrics(service: Service, exchange: Exchange) -> Reply:
    """The counts of all processes, in Prometheus' text format, and what answers."""
    model = {"name": service.name, "loadcast": __version__}
    if service.is_ready:
        served = service.served
        features = served.predictor.contract.features
        features_version = f"{features.name} {features.version}"
        model |= {"version": served.version, "family": served.family, "features": features_version}
    gate = None
    if service.forecast_gate is not None and service.is_ready:
        gate = service.forecast_gate.state(service.served.predictor.info)
    body, media_type = exposition(service.metrics, model, gate)
    return Reply(200, body, media_type)


def openapi(service: Service, exchange: Exchange) -> Reply:
    """The OpenAPI document of this service and its model."""
    return json_reply(document(service))


def docs(service: Service, exchange: Exchange) -> Reply:
    """The page that shows the document and lets one try it."""
    return Reply(200, docs_page.page(), "text/html; charset=utf-8", docs_page.headers())


def problem_kind(service: Service, exchange: Exchange, kind: str) -> Reply:
    """What a problem's `type` stands for. Raises NotFoundError."""
    known = KINDS.get(kind)
    if known is None:
        raise NotFoundError(f"There is no kind of problem {kind[:70]!r}, wanted one of {', '.join(KINDS)}.")
    about = {"type": PREFIX + known.name, "status": known.status, "title": known.title, "remedy": known.remedy}
    return json_reply(about)
