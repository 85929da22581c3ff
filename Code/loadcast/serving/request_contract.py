"""The scoring request: what it may hold, and how every fault in it is named.

A request is a JSON array of feature records. Read are ServerIP, SessionStartHourTime and the columns of the model's
feature set; the other columns of the feature table may be there and are ignored; any other name is a fault. Calendar
columns are not compared with the time: they are the features, the time names the answer.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadcast import schema
from loadcast.addresses import canonical_address
from loadcast.errors import RequestError, TooLargeError
from loadcast.kernels.features import Encoding, Feature, FeatureSet
from loadcast.serving.body_weight import check_weight
from loadcast.serving.columns import Columns, columns_of
from loadcast.serving.defaults import MAX_BODY_BYTES, MAX_RECORDS

MAX_PROBLEMS = 100
_MAX_SHOWN = 60
_MAX_ADDRESS = 45

_TIME_CHARACTERS = len("yyyy-MM-dd HH:mm:ss")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)
_server_of = itemgetter(schema.SERVER)
_hour_of = itemgetter(schema.HOUR)


class ContractError(RequestError):
    """Faults in a batch: the first MAX_PROBLEMS in `problems`, all of them counted in `problem_count`."""

    def __init__(self, message: str, problems: list[dict[str, Any]], problem_count: int) -> None:
        super().__init__(message, problems)
        self.problem_count = problem_count


class _Doubled(dict[str, Any]):
    """A JSON object in which a key stood more than once; `doubled` names the keys."""

    doubled: tuple[str, ...] = ()


class _Fault(Exception):
    """A value that breaks the contract; the argument is what was wanted."""


#: What the quick way may raise where something is wrong somewhere: the slow way finds out what and where.
DOUBTS = (_Fault, LookupError, TypeError, ValueError, OverflowError, AttributeError)


def _parse(body: bytes | str, most_fields: int) -> tuple[object, list[str]]:
    """The JSON value of a body, and the constants in it that JSON does not have (NaN, Infinity)."""
    odd: list[str] = []

    def constant(name: str) -> float:
        odd.append(name)
        return float(name)

    try:
        data = body.encode("utf-8") if isinstance(body, str) else body
        if len(data) > MAX_BODY_BYTES:
            raise TooLargeError(f"The body has {len(data)} bytes, wanted at most {MAX_BODY_BYTES}. Send less.")
        check_weight(data, most_fields)
        text = data.decode("utf-8")
    except UnicodeError as exc:
        raise RequestError("The body is not UTF-8 text, wanted a JSON array of feature records.") from exc
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=constant), odd
    except json.JSONDecodeError as exc:
        position = f"line {exc.lineno}, column {exc.colno}"
        raise RequestError(
            f"The body is not JSON ({exc.msg} at {position}), wanted an array of feature records."
        ) from exc
    except RecursionError as exc:
        raise RequestError("The body is nested too deeply, wanted an array of flat feature records.") from exc
    except ValueError as exc:
        raise RequestError("The body holds a number with thousands of digits, wanted finite numbers.") from exc


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    doubled = _Doubled(fields)
    counts = Counter(name for name, _ in pairs)
    doubled.doubled = tuple(name for name, count in counts.items() if count > 1)
    return doubled


class RequestContract:
    """What a request may hold for a model of `features`; `schema` has the columns that are read.

    `has_day_names` and `is_sample` say that other spellings are taken, too: see bundle_contract.BundleContract.
    """

    has_day_names = False
    is_sample = False

    def __init__(self, features: FeatureSet) -> None:
        self.features, self.schema = features, features.request_schema
        whole = [feature for feature in features.features if feature.encoding is Encoding.CATEGORY]
        numbers = [feature for feature in features.features if feature.encoding is not Encoding.CATEGORY]
        self._blocks = [_Block(kind, some) for kind, some in ((int, whole), (float, numbers)) if some]
        self._readers: dict[str, Callable[[object], Any]] = {
            schema.SERVER: _address,
            schema.HOUR: _time,
            **{
                feature.name: (_whole_reader if feature in whole else _number_reader)(feature)
                for feature in features.features
            },
        }
        #: The fields that may be there: those that are read, and the other columns of the feature table.
        self.allowed = frozenset(
            (
                *features.schema.names,
                *map(schema.indexed, features.categories),
                *map(schema.encoded, features.categories),
                *map(schema.scaled, features.scaled),
            )
        )

    def read_request(self, body: bytes | str) -> pa.Table:
        """Records of a JSON body as a table of `schema`, one row each, in order.

        Raises RequestError (TooLargeError beyond MAX_BODY_BYTES or MAX_RECORDS) that names every fault.
        """
        return self._read(*_parse(body, len(self.allowed)))

    def read_records(self, records: object) -> pa.Table:
        """The same for records that are parsed already: a list of dicts."""
        return self._read(records, [])

    def read_columns(self, columns: Mapping[str, Sequence[Any]], n_records: int) -> Columns:
        """The same for `n_records` records in columns, each with as many values, which `schema` names all."""
        if n_records > MAX_RECORDS:
            raise TooLargeError(f"The batch has {n_records} records, wanted at most {MAX_RECORDS}. Send less.")
        try:
            return self.plain_columns(columns, n_records)
        except DOUBTS:
            return self._read_as_records(columns)

    def _read_as_records(self, columns: Mapping[str, Sequence[Any]]) -> Columns:
        names, rows = tuple(columns), zip(*columns.values(), strict=True)
        return columns_of(self.read_records([dict(zip(names, row, strict=True)) for row in rows]), self.features)

    def plain_columns(self, columns: Mapping[str, Sequence[Any]], n_records: int) -> Columns:
        """Columns as they are; raises one of DOUBTS, without saying where, unless all of them are plainly right.

        `columns` names at least those of `schema`, each with `n_records` values.
        """
        if set(map(len, columns[schema.HOUR])) - {_TIME_CHARACTERS}:
            raise _Fault
        servers, hours = list(map(address_text, columns[schema.SERVER])), list(map(hour_text, columns[schema.HOUR]))
        if None in servers or None in hours:
            raise _Fault
        values = {block.kind: block.values(columns).T for block in self._blocks}
        whole = values.get(int, np.empty((n_records, 0), dtype=np.int64))
        numbers = values.get(float, np.empty((n_records, 0)))
        return Columns(servers, hours, whole, numbers)  # type: ignore[arg-type]  # None is in neither

    def _read(self, records: object, odd_constants: list[str]) -> pa.Table:
        if not isinstance(records, list):
            raise RequestError(
                f"The body is {shown(records)}, wanted an array of feature records such as [{{…}}, {{…}}]."
            )
        if len(records) > MAX_RECORDS:
            raise TooLargeError(f"The batch has {len(records)} records, wanted at most {MAX_RECORDS}. Send less.")
        if not odd_constants:
            try:
                return self._table(records)
            except DOUBTS:
                pass
        return self._table(self._checked(records, odd_constants))

    def _table(self, records: list[Any]) -> pa.Table:
        """All records at once, column by column; raises, without saying where, unless each of them is plainly right."""
        if not records:
            return self.schema.empty_table()
        for record in records:
            if type(record) is not dict or not record.keys() <= self.allowed:
                raise _Fault
        columns: dict[str, Sequence[object]] = {
            schema.SERVER: list(map(_server_of, records)),
            schema.HOUR: list(map(_hour_of, records)),
        }
        for block in self._blocks:
            columns.update(block.taken_from(records))
        return self._table_of(columns)

    def _table_of(self, given: Mapping[str, Sequence[object]]) -> pa.Table:
        """The same for columns."""
        columns: dict[str, Any] = {}
        for block in self._blocks:
            columns.update(block.columns(given))
        columns[schema.SERVER] = list(map(_address, given[schema.SERVER]))
        columns[schema.HOUR] = list(map(_time, given[schema.HOUR]))
        arrays = [pa.array(columns[field.name], field.type) for field in self.schema]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _checked(self, records: list[Any], odd_constants: Iterable[str]) -> list[dict[str, Any]]:
        """Each record with its values as plain Python ones; raises ContractError with every fault."""
        problems = Problems()
        plain = [self._check_record(number, record, problems) for number, record in enumerate(records)]
        for name in odd_constants if not problems.count else ():
            problems.add(None, None, name, "JSON, which has no such value")
        if problems.count:
            problems.refuse(len(records))
        return plain

    def _check_record(self, number: int, record: object, problems: Problems) -> dict[str, Any]:
        if not isinstance(record, dict):
            problems.add(number, None, shown(record), "an object of feature fields")
            return {}
        for name in record.doubled if isinstance(record, _Doubled) else ():
            problems.add(number, name, "the same field more than once", "each field once")
        plain: dict[str, Any] = {}
        for name, read in self._readers.items():
            if name not in record:
                problems.add(number, name, "nothing", _wanted(read))
                continue
            try:
                value = read(record[name])
            except _Fault as fault:
                problems.add(number, name, shown(record[name]), str(fault))
            else:
                plain[name] = str(value) if name == schema.HOUR else value
        for unknown in sorted(map(str, record.keys() - self.allowed)):
            problems.add(number, unknown, "an unknown field", partial(self._hint, unknown))
        return plain

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(name[:_MAX_SHOWN], sorted(self.allowed), n=1)
        return f"a field of the contract; did you mean {near[0]}?" if near else "a field of the contract"


class _Block:
    """Features of one type, whose values are taken out of the records and judged together."""

    def __init__(self, kind: type, features: list[Feature]) -> None:
        self.kind = kind
        self._names = [feature.name for feature in features]
        self._types = {int} if kind is int else {int, float}
        self._dtype = np.int64 if kind is int else np.float64
        self._target = np.int32 if kind is int else np.float64
        self._low, self._high = (np.array([getattr(feature, end) for feature in features]) for end in ("low", "high"))

    def taken_from(self, records: list[dict[str, Any]]) -> Iterator[tuple[str, tuple[object, ...]]]:
        """The values of the records, column by column."""
        # An itemgetter of one name gives the value and not a tuple: asking for the first twice gives always one.
        values_of = itemgetter(*self._names, self._names[0])
        return zip((*self._names, self._names[0]), zip(*map(values_of, records), strict=True), strict=True)

    def columns(self, given: Mapping[str, Sequence[object]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """The columns by name; raises, without saying where, unless all values are plainly right."""
        return zip(self._names, self.values(given).astype(self._target), strict=True)

    def values(self, given: Mapping[str, Sequence[object]]) -> npt.NDArray[Any]:
        """The same as one array, (features, n)."""
        columns = [given[name] for name in self._names]
        if not set(map(type, chain.from_iterable(columns))) <= self._types:
            raise _Fault
        values = np.array(columns, dtype=self._dtype)
        if not np.isfinite(values).all() or (self._low > values.T).any() or (self._high < values.T).any():
            raise _Fault
        return values


def _time(value: object) -> datetime:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise _Fault(f"a time as {schema.TIME_FORMAT_HINT}")


@lru_cache(maxsize=65536)
def hour_text(text: str) -> str | None:
    """A time as answers show it; None for anything else. What is kept of them is short: of one length alone."""
    try:
        return str(_time(text))
    except _Fault:
        return None


def address_text(text: str) -> str | None:
    """An address in its shortest form; None for anything else."""
    return _shortest_address(text) if len(text) <= _MAX_ADDRESS else None


def _address(value: object) -> str:
    address = address_text(value) if isinstance(value, str) else None
    if address is None:
        raise _Fault("an IPv4 or IPv6 address")
    return address


@lru_cache(maxsize=65536)
def _shortest_address(text: str) -> str | None:
    try:
        return canonical_address(text)
    except ValueError:
        return None


def _number_reader(feature: Feature) -> Callable[[object], float]:
    bounded = math.isfinite(feature.low) or math.isfinite(feature.high)
    wanted = f"a number from {feature.low:g} to {feature.high:g}" if bounded else "a finite number"

    def read(value: object) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number) and feature.low <= number <= feature.high:
                return number
        raise _Fault(wanted)

    return read


def _whole_reader(feature: Feature) -> Callable[[object], int]:
    low, high = int(feature.low), int(feature.high)

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return int(value)
        raise _Fault(f"an integer from {low} to {high}")

    return read


class Problems:
    """Counts every fault and describes the first MAX_PROBLEMS."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.count = 0

    def add(self, record: int | None, field: str | None, actual: str, wanted: str | Callable[[], str]) -> None:
        self.count += 1
        if len(self.listed) < MAX_PROBLEMS:
            text = wanted if isinstance(wanted, str) else wanted()
            name = None if field is None else _shortened(field)
            self.listed.append({"record": record, "field": name, "found": actual, "wanted": text})

    def refuse(self, n_records: int) -> NoReturn:
        """Raise ContractError for a batch of so many records."""
        message = f"Found {self.count} fault(s) in a batch of {n_records} record(s); nothing was scored."
        if self.count > len(self.listed):
            message += f" The first {len(self.listed)} are listed."
        raise ContractError(message, self.listed, self.count)


def _wanted(read: Callable[[object], Any]) -> str:
    try:
        read(None)
    except _Fault as fault:
        return str(fault)
    return "a value"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def shown(value: object) -> str:
    """A value as a message shows it: its text where that is short, else what it is."""
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return f"a {type(value).__name__}"
