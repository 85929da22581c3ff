"""The open inference protocol (V2) of KServe: the same answers as `/score`, asked for and given in columns.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from loadcast import __version__, schema
from loadcast.serving.column_request import datatypes, outputs_of, read_column_request
from loadcast.serving.exchange import Exchange, Reply, json_reply
from loadcast.serving.faults import NotFoundError
from loadcast.serving.scored import Scored
from loadcast.serving.service import ServedModel, Service

_LABELS = np.array(["", *schema.CLASS_NAMES.values()], dtype=object)


def server(service: Service, exchange: Exchange) -> Reply:
    """What answers here."""
    return json_reply({"name": "loadcast", "version": __version__, "extensions": []})


def live(service: Service, exchange: Exchange) -> Reply:
    """200 while the process runs."""
    return json_reply({"live": True})


def ready(service: Service, exchange: Exchange) -> Reply:
    """200 once a model is loaded, until the process ends."""
    is_ready = service.is_ready and not exchange.is_draining
    return json_reply({"ready": is_ready}, 200 if is_ready else 503)


def model(service: Service, exchange: Exchange, model: str, version: str | None = None) -> Reply:
    """What the model takes and gives. Raises NotFoundError, ArtefactError."""
    served = _served(service, model, version)
    inputs = [
        {"name": name, "datatype": types[0], "shape": [-1]}
        for name, types in datatypes(served.predictor.contract).items()
    ]
    kinds = outputs_of(served.answer_rule)
    outputs = [{"name": name, "datatype": kind, "shape": _shape(name, -1)} for name, kind in kinds.items()]
    platform = f"loadcast_{served.family}"
    return json_reply(
        {"name": model, "versions": [served.version], "platform": platform, "inputs": inputs, "outputs": outputs}
    )


def model_ready(service: Service, exchange: Exchange, model: str, version: str | None = None) -> Reply:
    """200 once this model is loaded. Raises NotFoundError, and ArtefactError before."""
    _served(service, model, version)
    return json_reply({"name": model, "ready": True})


def infer(service: Service, exchange: Exchange, body: bytes, model: str, version: str | None = None) -> Reply:
    """Answers in columns. Raises RequestError, NotFoundError, ArtefactError."""
    served = _served(service, model, version)
    kinds = outputs_of(served.answer_rule)
    request = read_column_request(body, served.predictor.contract, kinds)
    scored = served.predictor.score_columns(request.columns)
    exchange.scored = scored
    tensors = _tensors(scored)
    answer = {
        "model_name": model,
        "model_version": served.version,
        **({} if request.request_id is None else {"id": request.request_id}),
        "outputs": [
            {"name": name, "datatype": kinds[name], "shape": _shape(name, scored.n_records), "data": tensors[name]}
            for name in request.outputs
        ],
    }
    return Reply(200, orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


def _served(service: Service, model: str, version: str | None) -> ServedModel:
    if model != service.name:
        raise NotFoundError(f"There is no model {model[:70]!r} here, wanted {service.name!r}.")
    served = service.served
    if version is not None and version != served.version:
        raise NotFoundError(f"There is no version {version[:70]!r} of {model} here, wanted {served.version!r}.")
    return served


def _shape(name: str, n_records: int) -> list[int]:
    return [n_records, len(schema.CLASS_NAMES)] if name == "probability" else [n_records]


def _tensors(scored: Scored) -> dict[str, Any]:
    return {
        schema.SERVER: list(scored.servers),
        schema.HOUR: list(scored.hours),
        schema.PREDICTION: scored.labels.tolist(),
        schema.LABEL: _LABELS[scored.labels].tolist(),
        "probability": np.ascontiguousarray(scored.probabilities).ravel(),
        "cold_start": scored.cold_start.tolist(),
        **scored.further,
        **_thresholds(scored),
    }


def _thresholds(scored: Scored) -> dict[str, list[float]]:
    """The bounds of classes in columns, where answers have them."""
    bounds = scored.further.get(schema.BOUNDS, ())
    names = {"low": schema.LOW_THRESHOLD, "high": schema.HIGH_THRESHOLD}
    return {name: [values[key] for values in bounds] for key, name in names.items()}
