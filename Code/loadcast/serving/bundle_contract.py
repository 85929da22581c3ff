"""The request contract that follows from a bundle: what its encoders do with levels that training never saw.

loadcast's own bundles keep such levels. Others skip a record, which then has no answer, or take it as a fault, as the
string indexers of Spark do. The public sample's records have their own spelling: days by name, times as pandas writes
them, null for what is not known, and a JSON text that holds the array.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from loadcast import schema
from loadcast.kernels.encode import string_index
from loadcast.kernels.features import Encoding
from loadcast.kernels.features.public_sample import DAY_NAMES, DAY_OF_WEEK_COLUMN
from loadcast.serving.bundle import Bundle
from loadcast.serving.columns import Columns
from loadcast.serving.defaults import MAX_BODY_BYTES
from loadcast.serving.encoder_stages import ERROR
from loadcast.serving.request_contract import ContractError, Problems, RequestContract, shown

_DAY_NUMBERS = {name: number for number, name in enumerate(DAY_NAMES, 1)}
_BLANKS = " \t\r\n"
LAST_MS = 253_402_300_799_999  # of the year 9999


def contract_of(bundle: Bundle) -> RequestContract:
    """What a request to this bundle may hold."""
    if not bundle.unseen and not bundle.has_day_names and not bundle.info.is_of_public_sample:
        return RequestContract(bundle.encoders.features)
    return BundleContract(bundle)


class BundleContract(RequestContract):
    """The contract of a bundle that skips or refuses unseen levels, or whose records are the public sample's."""

    def __init__(self, bundle: Bundle) -> None:
        features = bundle.encoders.features
        super().__init__(features)
        self._encoders, self._unseen = bundle.encoders, bundle.unseen
        self.has_day_names, self.is_sample = bundle.has_day_names, bundle.info.is_of_public_sample
        self._numbers = [feature.name for feature in features.features if feature.encoding is not Encoding.CATEGORY]

    def read_request(self, body: bytes | str) -> pa.Table:
        """As RequestContract.read_request. Of the public sample, also a JSON text that holds the array."""
        return super().read_request(_unwrapped(body) if self.is_sample else body)

    def read_columns(self, columns: Mapping[str, Sequence[Any]], n_records: int) -> Columns:
        """As RequestContract.read_columns; records that the encoders skip are missing."""
        return self._read_as_records(columns)

    def _read(self, records: object, odd_constants: list[str]) -> pa.Table:
        if isinstance(records, list):
            records = [self._translated(record) for record in records]
        try:
            table = super()._read(records, odd_constants)
        except ContractError as error:
            raise ContractError(str(error), [*map(self._worded, error.problems)], error.problem_count) from None
        return self._of_seen_levels(table)

    def _translated(self, record: Any) -> Any:
        """A record with loadcast's own spelling; what is not understood stays for the contract to refuse."""
        if not isinstance(record, dict):
            return record
        changes: dict[str, Any] = {}
        if self.is_sample:
            changes = {name: 0.0 for name in self._numbers if record.get(name, 0) is None}
            changes[schema.HOUR] = _hour_text(record.get(schema.HOUR))
        day = record.get(DAY_OF_WEEK_COLUMN)
        if self.has_day_names and isinstance(day, str):
            changes[DAY_OF_WEEK_COLUMN] = _DAY_NUMBERS.get(day, day)
        translated = copy.copy(record)  # which keeps what the reader noted of fields that stand twice
        translated.update({name: value for name, value in changes.items() if name in record})
        return translated

    def _worded(self, problem: dict[str, Any]) -> dict[str, Any]:
        wanted = problem["wanted"]
        if self.has_day_names and problem["field"] == DAY_OF_WEEK_COLUMN:
            wanted = f"a day from {DAY_NAMES[0]} to {DAY_NAMES[-1]}, or {wanted}"
        if self.is_sample and problem["field"] == schema.HOUR:
            wanted = f"{wanted}, or milliseconds since 1970"
        return {**problem, "wanted": wanted}

    def _of_seen_levels(self, table: pa.Table) -> pa.Table:
        """The rows that the string indexers, one after the other, let pass. Raises ContractError."""
        passes = np.ones(table.num_rows, dtype=bool)
        for column, choice in self._unseen.items():
            unseen = passes & (string_index(table, column, self._encoders) == len(self._encoders.levels[column]))
            if choice == ERROR and unseen.any():
                _refuse_unseen(table, column, np.flatnonzero(unseen))
            passes &= ~unseen
        return table if passes.all() else table.filter(pa.array(passes))


def _refuse_unseen(table: pa.Table, column: str, rows: Any) -> NoReturn:
    problems = Problems()
    for row in rows.tolist():
        problems.add(row, column, shown(table.column(column)[row].as_py()), "a value that training has seen")
    problems.refuse(table.num_rows)


def _unwrapped(body: bytes | str) -> bytes | str:
    """The text that a JSON text holds; else the body as it is."""
    quote: Any = '"' if isinstance(body, str) else b'"'
    blanks: Any = _BLANKS if isinstance(body, str) else _BLANKS.encode()
    if len(body) > MAX_BODY_BYTES or not body.lstrip(blanks).startswith(quote):
        return body
    try:
        text = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return text if isinstance(text, str) else body


def _hour_text(value: object) -> object:
    """A time in milliseconds, as pandas writes one, by its wall clock; else the value as it is."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LAST_MS:
        return value
    return datetime.fromtimestamp(value // 1000, UTC).strftime(schema.TIME_FORMAT)
