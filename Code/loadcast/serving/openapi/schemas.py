"""Schemas of the document, in JSON Schema 2020-12: records by the feature set's ranges, answers, tensors, problems."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from loadcast import schema
from loadcast.kernels.features import Encoding, Feature
from loadcast.kernels.features.public_sample import DAY_NAMES, DAY_OF_WEEK_COLUMN
from loadcast.kernels.labels import CONFIGURED, FLEET, SERVER
from loadcast.serving.answer_rule import AnswerRule
from loadcast.serving.bundle_contract import LAST_MS
from loadcast.serving.column_request import ALL_TYPES, outputs_of
from loadcast.serving.defaults import MAX_RECORDS
from loadcast.serving.problems import KINDS, PREFIX
from loadcast.serving.request_contract import MAX_PROBLEMS, RequestContract

Schema = dict[str, Any]
_DAY = (
    "(?!0000)(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_HOUR = "(?:[01][0-9]|2[0-3])"
TIME_PATTERN = f"^{_DAY}[ T]{_HOUR}:[0-5][0-9]:[0-5][0-9]$"
WHOLE_HOUR_PATTERN = f"^{_DAY}[ T]{_HOUR}:00:00$"
_LENGTH = len("yyyy-MM-dd HH:mm:ss")
ADDRESS: Schema = {
    "type": "string",
    "maxLength": 45,
    "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
    "description": "An IPv4 or IPv6 address.",
}
_EXAMPLE_HOUR = "2016-07-01 00:00:00"
#: What features of that hour usually hold; others have some load.
_LIKELY = {
    **{"year": 2016.0, "month": 7.0, "weekofyear": 26.0, "dayofmonth": 1.0, "dayofweek": 5.0, "hourofday": 0.0},
    **{"Holiday": 0.0, "BusinessHour": 0.0, "Morning": 0.0, "linearTrend": 0.08},
}
_LIKELY_LOAD = 100.0
#: Of the classes' shares in an answer.
_SHARES = {name: {"type": "number", "minimum": 0, "maximum": 1} for name in schema.CLASS_NAMES.values()}


def time_schema(pattern: str = TIME_PATTERN) -> Schema:
    """A time of a request."""
    return {"type": "string", "pattern": pattern, "minLength": _LENGTH, "maxLength": _LENGTH}


def closed(properties: dict[str, Schema], required: tuple[str, ...] | None = None, **more: Any) -> Schema:
    """An object with these properties and no others; all of them are required unless `required` names some."""
    needed = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False, **more}


def record_schema(contract: RequestContract) -> Schema:
    """A feature record."""
    read: dict[str, Schema] = {
        schema.SERVER: ADDRESS,
        schema.HOUR: {**time_schema(), "description": f"The hour as {schema.TIME_FORMAT_HINT}; `T` may stand between."},
        **{feature.name: _feature(feature) for feature in contract.features.features},
    }
    if contract.has_day_names:
        read[DAY_OF_WEEK_COLUMN] = {"anyOf": [read[DAY_OF_WEEK_COLUMN], {"enum": list(DAY_NAMES)}]}
    if contract.is_sample:
        wall_clock = {"type": "integer", "minimum": 0, "maximum": LAST_MS, "description": "Milliseconds since 1970."}
        read[schema.HOUR] = {"anyOf": [read[schema.HOUR], wall_clock]}
        for feature in contract.features.features:
            if feature.encoding is not Encoding.CATEGORY:
                read[feature.name]["type"] = ["number", "null"]
    ignored = sorted(contract.allowed - read.keys())
    return closed({**read, **{name: {"description": "Ignored."} for name in ignored}}, tuple(read))


def batch_schema(contract: RequestContract) -> Schema:
    """A batch of records; of the public sample also a text that holds it as JSON."""
    batch: Schema = {"type": "array", "items": _ref("Record"), "maxItems": MAX_RECORDS}
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": batch}
    return {"anyOf": [batch, text]} if contract.is_sample else batch


def _feature(feature: Feature) -> Schema:
    is_whole = feature.encoding is Encoding.CATEGORY
    unit = f", {feature.unit}" if feature.unit else ""
    described = {"type": "integer" if is_whole else "number", "description": f"{feature.meaning}{unit}"}
    most = sys.float_info.max
    low, high = max(feature.low, -most), min(feature.high, most)
    return {**described, "minimum": int(low) if is_whole else low, "maximum": int(high) if is_whole else high}


def example_record(contract: RequestContract) -> dict[str, Any]:
    """A record that the contract takes."""
    record: dict[str, Any] = {schema.SERVER: "192.0.2.1", schema.HOUR: _EXAMPLE_HOUR}
    for feature in contract.features.features:
        value = min(max(_LIKELY.get(feature.name, _LIKELY_LOAD), feature.low), feature.high)
        record[feature.name] = int(value) if feature.encoding is Encoding.CATEGORY else value
    return record


def example_inference(contract: RequestContract) -> dict[str, Any]:
    """The same record as an inference request."""
    kinds = {pa.int32(): "INT32", pa.float64(): "FP64"}
    record = example_record(contract)
    tensors = [
        {"name": field.name, "shape": [1], "datatype": kinds.get(field.type, "BYTES"), "data": [record[field.name]]}
        for field in contract.schema
    ]
    return {"inputs": tensors}


def answer_schemas(rule: AnswerRule | None, *, is_gated: bool = False) -> dict[str, Schema]:
    """What answers are made of, where a model's rule adds to them, and a service's gate to its forecasts."""
    fields: dict[str, Schema] = {
        schema.SERVER: {"type": "string"},
        schema.HOUR: {"type": "string"},
        schema.PREDICTION: {"enum": list(schema.CLASS_NAMES)},
        schema.LABEL: {"enum": list(schema.CLASS_NAMES.values())},
        "probability": closed(_SHARES),
        "cold_start": {"type": "boolean", "description": "Whether training never saw the server."},
        **_decided(rule),
    }
    bounds = {schema.BOUNDS: _ref("Bounds")}
    model = closed({"name": {"type": "string"}, "version": {"type": "string"}})
    hours = {"type": "array", "items": _ref("Hour"), "maxItems": schema.HORIZON_HOURS}
    texts = {"type": "string"}
    return {
        "Answer": closed({**fields, **bounds} if rule is not None and rule.has_bounds else fields),
        "Hour": _hour(fields, is_gated=is_gated),
        "Answers": {
            "type": "object",
            "patternProperties": {"^(?:0|[1-9][0-9]*)$": _ref("Answer")},
            "additionalProperties": False,
            "maxProperties": MAX_RECORDS,
            "description": "One entry per record, in order, keyed by its position.",
        },
        "Bounds": _BOUNDS,
        "Forecast": closed({"server": texts, "from": texts, "model": model, **bounds, "hours": hours}),
        "Fault": _fault(),
        "Problem": _problem(),
        "ProblemKind": closed({"type": texts, "status": {"type": "integer"}, "title": texts, "remedy": texts}),
        **_inference_schemas(list(outputs_of(rule))),
    }


def _decided(rule: AnswerRule | None) -> dict[str, Schema]:
    """The fields of decisions, as far as a model's answers have them."""
    fields: dict[str, Schema] = {}
    if rule is not None and rule.has_costs:
        about = "The class of least expected cost, the lower of equals."
        fields[schema.DECISION] = {"enum": list(schema.CLASS_NAMES), "description": about}
        fields[schema.EXPECTED_COST] = {"type": "number", "minimum": 0, "description": "What it is expected to cost."}
    if rule is not None and rule.has_confidence:
        about = f"Whether the largest probability reaches {rule.decisions.min_confidence:g}; else there is no forecast."
        fields[schema.CONFIDENT] = {"type": "boolean", "description": about}
    return fields


def _hour(fields: dict[str, Schema], *, is_gated: bool) -> Schema:
    """An hour of a forecast; one that came through a gate says so, and what the model itself said."""
    about = "An answer; the bounds of classes stand once beside the hours."
    if not is_gated:
        return closed(fields, description=about)
    by = f"{schema.MODEL}, or the naive forecast that answers in its place; missing where no gate counts."
    said = closed({schema.PREDICTION: {"enum": list(schema.CLASS_NAMES)}, "probability": closed(_SHARES)})
    further: dict[str, Schema] = {
        schema.ANSWERED_BY: {"type": "string", "description": by},
        schema.MODEL: {**said, "description": "What the model itself said."},
    }
    both = {schema.ANSWERED_BY: [schema.MODEL], schema.MODEL: [schema.ANSWERED_BY]}
    return closed({**fields, **further}, tuple(fields), description=about, dependentRequired=both)


def inference_request(contract: RequestContract, rule: AnswerRule | None) -> Schema:
    """An inference request: a tensor of n values for each field that `/score` needs."""
    values = {"type": "array", "maxItems": MAX_RECORDS}
    tensor = closed(
        {
            "name": {"enum": [*contract.schema.names, *sorted(contract.allowed - set(contract.schema.names))]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": list(ALL_TYPES)},
            "parameters": {"type": "object"},
            "data": values,
        },
        ("name", "shape", "datatype", "data"),
    )
    output = closed({"name": {"enum": list(outputs_of(rule))}, "parameters": {"type": "object"}}, ("name",))
    return closed(
        {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor, "minItems": len(contract.schema.names)},
            "outputs": {"type": "array", "items": output},
        },
        ("inputs",),
    )


def _inference_schemas(outputs: list[str]) -> dict[str, Schema]:
    texts, shape = {"type": "string"}, {"type": "array", "items": {"type": "integer"}}
    described = closed({"name": texts, "datatype": texts, "shape": shape})
    tensors = {"type": "array", "items": described}
    given = closed({"name": {"enum": outputs}, "datatype": texts, "shape": shape, "data": {"type": "array"}})
    return {
        "InferenceServer": closed({"name": texts, "version": texts, "extensions": {"type": "array", "items": texts}}),
        "InferenceModel": closed(
            {
                "name": texts,
                "versions": {"type": "array", "items": texts},
                "platform": texts,
                "inputs": tensors,
                "outputs": tensors,
            }
        ),
        "InferenceAnswer": closed(
            {"model_name": texts, "model_version": texts, "id": texts, "outputs": {"type": "array", "items": given}},
            ("model_name", "model_version", "outputs"),
        ),
    }


def _fault() -> Schema:
    return closed(
        {
            "record": {"type": ["integer", "null"], "description": "From 0; null for the batch as a whole."},
            "field": {"type": ["string", "null"]},
            "found": {"type": "string"},
            "wanted": {"type": "string"},
        }
    )


def _problem() -> Schema:
    problems = {"type": "array", "items": _ref("Fault"), "maxItems": MAX_PROBLEMS}
    count = {"type": "integer", "minimum": 0}
    error = closed({"message": {"type": "string"}, "problems": problems, "problem_count": count}, ("message",))
    return {
        "type": "object",
        "description": "Problem details, RFC 9457.",
        "properties": {
            "type": {"enum": [*(PREFIX + name for name in KINDS), "about:blank"]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "The request's id."},
            "problems": problems,
            "problem_count": count,
            "error": {"anyOf": [error, {"type": "string"}], "description": "The same again; below /v2 the text alone."},
        },
        "required": ["type", "title", "status", "detail", "error"],
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_BOUNDS = closed(
    {
        "low": {"type": "number"},
        "high": {"type": "number"},
        "source": {"enum": [CONFIGURED, FLEET, SERVER]},
    },
    description="Low is a load up to and including `low`, high is above `high`; and where these bounds are from.",
)
