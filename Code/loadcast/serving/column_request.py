"""A request of the open inference protocol (V2): tensors of one value a record, and every fault in them.

The values go the way of the request contract; what is checked here is what the protocol adds around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa

from loadcast import schema
from loadcast.errors import RequestError, TooLargeError
from loadcast.serving.answer_rule import AnswerRule
from loadcast.serving.body_weight import ESCAPED
from loadcast.serving.columns import Columns
from loadcast.serving.defaults import MAX_BODY_BYTES, MAX_RECORDS
from loadcast.serving.request_contract import ContractError, Problems, RequestContract, shown

#: Tensors of an answer: name → datatype.
OUTPUTS = {
    schema.SERVER: "BYTES",
    schema.HOUR: "BYTES",
    schema.PREDICTION: "INT32",
    schema.LABEL: "BYTES",
    "probability": "FP64",
    "cold_start": "BOOL",
}
_OUTPUTS_OF_COSTS = {schema.DECISION: "INT32", schema.EXPECTED_COST: "FP64"}
_OUTPUTS_OF_CONFIDENCE = {schema.CONFIDENT: "BOOL"}
_OUTPUTS_OF_BOUNDS = {schema.LOW_THRESHOLD: "FP64", schema.HIGH_THRESHOLD: "FP64"}
WHOLE = ("INT32", "INT64")
NUMBERS = ("FP64", *WHOLE)
TEXT = ("BYTES",)
#: Datatypes that a tensor which is ignored may have.
ALL_TYPES = (*NUMBERS, *TEXT, "BOOL", "FP32", "FP16", "INT8", "INT16", "UINT8", "UINT16", "UINT32", "UINT64")
_Fields = Mapping[str, type[Any]]
_REQUEST_FIELDS: _Fields = {"id": str, "parameters": dict, "inputs": list, "outputs": list}
_INPUT_FIELDS: _Fields = {"name": str, "shape": list, "datatype": str, "parameters": dict, "data": list}
_OUTPUT_FIELDS: _Fields = {"name": str, "parameters": dict}
_KINDS: dict[type[Any], str] = {str: "a text", list: "an array", dict: "an object"}
_SHOWN_SIZES = 4
#: Commas of a request beside those between the values.
_FRAME_COMMAS = 10_000


@dataclass(frozen=True)
class ColumnRequest:
    """Records in columns, the request's id, and which outputs it wants."""

    columns: Columns
    request_id: str | None
    outputs: tuple[str, ...]


@lru_cache(maxsize=4)
def datatypes(contract: RequestContract) -> dict[str, tuple[str, ...]]:
    """The datatypes that each column of the contract may have; the first is the usual one."""
    by_type = {pa.int32(): WHOLE, pa.float64(): NUMBERS}
    return {field.name: by_type.get(field.type, TEXT) for field in contract.schema}


def outputs_of(rule: AnswerRule | None) -> dict[str, str]:
    """The tensors of an answer: those of all bundles (OUTPUTS), and those of a bundle's rule."""
    further = rule and (
        (rule.has_costs, _OUTPUTS_OF_COSTS),
        (rule.has_confidence, _OUTPUTS_OF_CONFIDENCE),
        (rule.has_bounds, _OUTPUTS_OF_BOUNDS),
    )
    more = {name: kind for is_there, outputs in further or () if is_there for name, kind in outputs.items()}
    return {**OUTPUTS, **more}


def read_column_request(
    body: bytes, contract: RequestContract, outputs: Iterable[str] = tuple(OUTPUTS)
) -> ColumnRequest:
    """Read the body of an inference request to a bundle whose answers have these outputs.

    Raises RequestError that names every fault.
    """
    request = _parsed(body, contract)
    faults = _Faults()
    faults.check_fields(request, _REQUEST_FIELDS, ("inputs",), "")
    wanted = _outputs(request.get("outputs"), tuple(outputs), faults)
    faults.refuse()
    tensors = {tensor["name"]: tensor for tensor in _tensors(request["inputs"], contract, faults)}
    n_records = _n_records(tensors, faults)
    faults.refuse()
    columns = {name: _values(tensor, n_records, faults) for name, tensor in tensors.items()}
    faults.refuse()
    read = {name: columns[name] for name in contract.schema.names}
    return ColumnRequest(contract.read_columns(read, n_records), request.get("id"), wanted)


class _Faults:
    """Faults of a request as problems: the first MAX_PROBLEMS, and how many there are."""

    def __init__(self) -> None:
        self._problems = Problems()

    def add(self, name: str | None, actual: str, wanted: str, record: int | None = None) -> None:
        self._problems.add(record, name, actual, wanted)

    def refuse(self) -> None:
        """Raise ContractError if there are any."""
        problems = self._problems
        if problems.count:
            message = f"Found {problems.count} fault(s) in an inference request; nothing was scored."
            raise ContractError(message, problems.listed, problems.count)

    def check_fields(self, part: Mapping[str, Any], wanted: _Fields, needed: Iterable[str], path: str) -> None:
        """Whether an object has the fields that it needs, and no others, each of its type."""
        for name in needed:
            if name not in part:
                self.add(path + name, "nothing", _KINDS[wanted[name]])
        for name, value in part.items():
            if name not in wanted:
                self.add(path + name, "an unknown field", f"one of {', '.join(wanted)}")
            elif type(value) is not wanted[name]:
                self.add(path + name, shown(value), _KINDS[wanted[name]])


def _parsed(body: bytes, contract: RequestContract) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"The body has {len(body)} bytes, wanted at most {MAX_BODY_BYTES}. Send less.")
    # A short text can stand for millions of values, which take seconds and a gigabyte.
    if body.count(b",") > MAX_RECORDS * len(contract.allowed) + _FRAME_COMMAS:
        raise TooLargeError(f"The body has more values than {MAX_RECORDS} records can have. Send less.")
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"The body is not JSON ({error}), wanted an inference request.") from error
    if not isinstance(request, dict):
        raise RequestError(f'The body is {shown(request)}, wanted an inference request: {{"inputs": […]}}.')
    # Every text, names of fields included, stands between two quotation marks; of a name that stands twice the parser
    # drops the first. So it is known whether one was dropped.
    marks = (ESCAPED.sub(b"", body) if b"\\" in body else body).count(b'"')
    if marks != 2 * _n_texts(request):
        raise RequestError("The body has the same field more than once in an object, wanted each field once.")
    return request


def _n_texts(value: Any) -> int:
    """How many texts a JSON value has, names of fields included, however deep it is."""
    number, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            number += 1
        elif isinstance(part, dict):
            number += len(part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            types = set(map(type, part))
            if types == {str}:
                number += len(part)
            elif types & {str, list, dict}:
                waiting.extend(part)
    return number


def _outputs(wanted: Any, known: tuple[str, ...], faults: _Faults) -> tuple[str, ...]:
    if not isinstance(wanted, list) or not wanted:
        return known
    names = []
    for number, output in enumerate(wanted):
        path = f"outputs[{number}]."
        if not isinstance(output, dict):
            faults.add(path[:-1], shown(output), "an object")
            continue
        faults.check_fields(output, _OUTPUT_FIELDS, ("name",), path)
        names.append(output.get("name"))
        if isinstance(names[-1], str) and (names[-1] not in known or names.count(names[-1]) > 1):
            faults.add(f"{path}name", shown(names[-1]), f"one of {', '.join(known)}, each once")
    return tuple(name for name in known if name in names)


def _tensors(inputs: list[Any], contract: RequestContract, faults: _Faults) -> list[dict[str, Any]]:
    """The tensors that are whole, each of a column once; what is missing or strange is a fault."""
    types = datatypes(contract)
    whole: dict[str, dict[str, Any]] = {}
    for number, tensor in enumerate(inputs):
        path = f"inputs[{number}]."
        if not isinstance(tensor, dict):
            faults.add(path[:-1], shown(tensor), "an object")
            continue
        faults.check_fields(tensor, _INPUT_FIELDS, ("name", "shape", "datatype", "data"), path)
        name = tensor.get("name")
        if not isinstance(name, str):
            continue
        if name in whole:
            faults.add(name, "the same input more than once", "each input once")
        elif name not in contract.allowed:
            faults.add(name, "an unknown input", "a field of the contract")
        wanted = types.get(name, ALL_TYPES)
        datatype = tensor.get("datatype")
        if isinstance(datatype, str) and datatype not in wanted:
            faults.add(name, f"datatype {shown(datatype)}", f"datatype {' or '.join(wanted)}")
        whole[name] = tensor
    for name in types:
        if name not in whole:
            faults.add(name, "nothing", f"an input of datatype {types[name][0]}")
    faults.refuse()
    return list(whole.values())


def _n_records(tensors: Mapping[str, Mapping[str, Any]], faults: _Faults) -> int:
    n_records: int | None = None
    for name, tensor in tensors.items():
        shape = tensor["shape"]
        is_column = set(map(type, shape)) == {int} and shape[1:] in ([], [1]) and shape[0] >= 0
        if not is_column:
            faults.add(name, f"shape [{', '.join(map(shown, shape[:_SHOWN_SIZES]))}]", "shape [n] or [n, 1]")
        elif n_records is None:
            n_records = shape[0]
        elif n_records != shape[0]:
            faults.add(name, f"{shape[0]} record(s)", f"{n_records}, as the other inputs have")
    return n_records or 0


def _values(tensor: Mapping[str, Any], n_records: int, faults: _Faults) -> list[Any]:
    name, data = tensor["name"], tensor["data"]
    if len(tensor["shape"]) > 1 and all(type(row) is list and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    if len(data) != n_records:
        faults.add(name, f"{len(data)} value(s)", f"{n_records}, as the shape says")
    elif tensor["datatype"] in WHOLE and float in set(map(type, data)):
        for record, value in enumerate(data):
            if type(value) is float:
                faults.add(name, shown(value), f"an integer, as datatype {tensor['datatype']} says", record)
    return list(data)
