"""Answers of a scoring service, checked one by one against what was asked."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby, islice
from typing import Any, NoReturn, TypeGuard

import orjson
import pyarrow as pa

from loadcast import schema
from loadcast.errors import ServiceError
from loadcast.kernels.labels import CONFIGURED, FLEET, SERVER, Bounds, LabelRule
from loadcast.serving.remote.batches import Record

_SHOWN_PROBLEMS = 5
_SHOWN_CHARACTERS = 500
_TOLERANCE = 1e-6
_FURTHER = (schema.DECISION, schema.EXPECTED_COST, schema.CONFIDENT, schema.BOUNDS)
_SOURCES = (CONFIGURED, FLEET, SERVER)
#: Where a fault says what it is: ours of before, then RFC 9457.
_WORDS = ("message", "detail", "title")


@dataclass(frozen=True)
class Gated:
    """Which forecast answers an hour behind a gate, schema.MODEL or a naive one, and what the model itself said."""

    answered_by: str
    label: int
    probabilities: tuple[float, ...]

    @property
    def is_naive(self) -> bool:
        """Whether a naive forecast answers in the model's place."""
        return self.answered_by != schema.MODEL


@dataclass(frozen=True)
class HourForecast:
    """The class (1 low, 2 medium, 3 high) of one server for one hour; `probabilities` in the order of the classes.

    `cold_start` says that a value of the record, such as the server, was not in the training data. None where the
    answer does not say it: `decision`, the class of least expected cost, with its `expected_cost`; `confident`, whether
    the largest probability is as large as was wanted, without which there is no forecast; and the `bounds` of classes.
    `gated` is None unless the forecast came through a gate.
    """

    server: str
    hour: datetime
    label: int
    probabilities: tuple[float, ...]
    cold_start: bool
    decision: int | None = None
    expected_cost: float | None = None
    confident: bool | None = None
    bounds: Bounds | None = None
    gated: Gated | None = None


@dataclass(frozen=True)
class ServerForecast:
    """The forecast hours of one server, in order."""

    server: str
    hours: tuple[HourForecast, ...]

    @property
    def cold_start(self) -> bool:
        """Whether any hour is a cold start."""
        return any(hour.cold_start for hour in self.hours)

    @property
    def bounds(self) -> Bounds | None:
        """The bounds of classes; None where the answers do not name them."""
        return self.hours[0].bounds if self.hours else None


def check_answers(body: bytes, records: Sequence[Record]) -> list[HourForecast]:
    """The answers in a body, checked one by one against the records that were sent. Raises ServiceError."""
    try:
        answers = _decoded(body)
    except (ValueError, RecursionError):
        text = _plain(body[:100].decode("utf-8", "replace")) or "nothing"
        raise ServiceError(f"The service's answer is not JSON: {text}") from None
    if not isinstance(answers, dict):
        raise ServiceError(f"The service answered with a {type(answers).__name__}, wanted an object of answers.")
    if list(answers) != [str(number) for number in range(len(records))]:
        raise ServiceError(
            f"The service gave {len(answers)} answer(s) to {len(records)} record(s), wanted one for each, in order: "
            f"found the keys {_plain(', '.join(islice(answers, _SHOWN_PROBLEMS)))}."
        )
    return [_check(number, answer, records[number]) for number, answer in enumerate(answers.values())]


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        # What is not quite JSON, such as NaN, is read as far as it can be: the field that is wrong gets a name.
        return json.loads(body)


def _check(number: int, answer: object, record: Record) -> HourForecast:
    given = answer if isinstance(answer, dict) else {}
    for name in (schema.SERVER, schema.HOUR):
        if given.get(name) != record[name]:
            _refuse(number, name, given.get(name), record[name])
    label = given.get(schema.PREDICTION)
    if not _is_class(label):
        _refuse(number, schema.PREDICTION, label, "1, 2 or 3")
    if given.get(schema.LABEL) != schema.CLASS_NAMES[int(label)]:
        _refuse(number, schema.LABEL, given.get(schema.LABEL), schema.CLASS_NAMES[int(label)])
    if not isinstance(given.get("cold_start"), bool):
        _refuse(number, "cold_start", given.get("cold_start"), "true or false")
    shares = _probabilities(given.get("probability"))
    if shares is None or shares[int(label) - 1] < max(shares):
        _refuse(number, "probability", given.get("probability"), "three shares of 1, the largest that of the class")
    plain = HourForecast(record[schema.SERVER], _time(record[schema.HOUR]), int(label), shares, given["cold_start"])
    further = {name: given[name] for name in _FURTHER if name in given}
    return replace(plain, **_further(number, further)) if further else plain


def _further(number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """What only some answers say, checked, by the names of HourForecast."""
    known: dict[str, Any] = {}
    if schema.DECISION in given or schema.EXPECTED_COST in given:
        decision, cost = given.get(schema.DECISION), given.get(schema.EXPECTED_COST)
        if not _is_class(decision):
            _refuse(number, schema.DECISION, decision, "1, 2 or 3")
        if not _is_number(cost) or cost < 0:
            _refuse(number, schema.EXPECTED_COST, cost, "a number from 0 on")
        known = {"decision": int(decision), "expected_cost": float(cost)}
    if schema.CONFIDENT in given:
        known["confident"] = given[schema.CONFIDENT]
        if not isinstance(known["confident"], bool):
            _refuse(number, schema.CONFIDENT, known["confident"], "true or false")
    if schema.BOUNDS in given:
        known["bounds"] = _bounds(number, given[schema.BOUNDS])
    return known


def _bounds(number: int, given: Any) -> Bounds:
    parts = given if isinstance(given, dict) else {}
    low, high, source = (parts.get(name) for name in ("low", "high", "source"))
    if not (_is_number(low) and _is_number(high) and low <= high and source in _SOURCES):
        _refuse(number, schema.BOUNDS, given, f"low, high and a source ({', '.join(_SOURCES)})")
    return Bounds(float(low), float(high), source)


def _is_class(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value in schema.CLASS_NAMES


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number; an integer that no float can hold is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


@lru_cache(maxsize=1024)
def _time(text: str) -> datetime:
    """The hour in a record; all servers are asked for the same ones."""
    return datetime.strptime(text, schema.TIME_FORMAT)


def _probabilities(answer: object) -> tuple[float, ...] | None:
    """The probabilities by class, or None where `answer` does not hold them."""
    names = tuple(schema.CLASS_NAMES.values())
    if not isinstance(answer, dict) or set(answer) != set(names):
        return None
    shares = tuple(answer[name] for name in names)
    if any(isinstance(share, bool) or not isinstance(share, (int, float)) for share in shares):
        return None
    right = all(0 <= share <= 1 for share in shares) and math.isclose(sum(shares), 1, abs_tol=_TOLERANCE)
    return tuple(map(float, shares)) if right else None


def _refuse(number: int, field: str, actual: object, wanted: str) -> NoReturn:
    shown = _plain(repr(actual))[:100]
    raise ServiceError(f"The service's answer to record {number}: {field}: found {shown}, wanted {wanted}.")


def by_server(answers: Iterable[HourForecast]) -> list[ServerForecast]:
    """Answers, which come server after server, put together for each."""
    return [ServerForecast(server, tuple(hours)) for server, hours in groupby(answers, lambda answer: answer.server)]


def with_bounds(hours: Iterable[HourForecast], rule: LabelRule) -> Iterator[HourForecast]:
    """The hours with the rule's bounds where the answers name none: a service with configured ones does not."""
    for hour in hours:
        yield hour if hour.bounds is not None else replace(hour, bounds=rule.bounds(hour.server))


def forecast_table(hours: Iterable[HourForecast]) -> pa.Table:
    """The hours as schema.FORECAST_SCHEMA, with the columns of schema.DECISION_SCHEMA that answers say something of.

    Behind a gate there are those of schema.GATED_SCHEMA, too.
    """
    rows = [
        {
            schema.SERVER: hour.server,
            schema.HOUR: hour.hour,
            schema.PREDICTION: hour.label,
            schema.LABEL: schema.CLASS_NAMES[hour.label],
            **dict(zip(schema.PROBABILITY_COLUMNS.values(), hour.probabilities, strict=True)),
            schema.COLD_START: hour.cold_start,
            schema.LOW_THRESHOLD: None if hour.bounds is None else hour.bounds.low,
            schema.HIGH_THRESHOLD: None if hour.bounds is None else hour.bounds.high,
            schema.DECISION: hour.decision,
            schema.EXPECTED_COST: hour.expected_cost,
            schema.CONFIDENT: hour.confident,
            **({} if hour.gated is None else _gated_columns(hour.gated)),
        }
        for hour in hours
    ]
    further = (*schema.DECISION_SCHEMA, *schema.GATED_SCHEMA)
    said = [field for field in further if any(row.get(field.name) is not None for row in rows)]
    return pa.Table.from_pylist(rows, schema=pa.schema([*schema.FORECAST_SCHEMA, *said]))


def _gated_columns(gated: Gated) -> dict[str, object]:
    return {
        schema.ANSWERED_BY: gated.answered_by,
        schema.MODEL_PREDICTION: gated.label,
        **dict(zip(schema.MODEL_PROBABILITY_COLUMNS.values(), gated.probabilities, strict=True)),
    }


def explain(body: bytes) -> str:
    """What an error body says, fit for a terminal: its message and its first problems, else its text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _plain(text) or "nothing"
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return _plain(str(error))
    problems = error.get("problems")
    listed = [item for item in problems if isinstance(item, dict)] if isinstance(problems, list) else []
    said = next((error[name] for name in _WORDS if name in error), text)
    lines = [_plain(str(said))]
    for item in listed[:_SHOWN_PROBLEMS]:
        problem = ", ".join(f"{name} {item[name]}" for name in ("record", "field", "found", "wanted") if name in item)
        lines.append(f"  {_plain(problem)}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text without control characters, which could drive the reader's terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:_SHOWN_CHARACTERS])
