"""The quick way for plain requests: bytes → columns, or None on any doubt; then the request contract decides.

What is taken here the contract takes as well, with the same values: a JSON array of flat records that have the same
fields in the same order. orjson, which parses it, hides two things that the contract sees:

- A field that stands twice. Without backslashes every quotation mark begins or ends a text, so it is known how many
  texts there are, names of fields included; one that was dropped is missing among those that are left.
- Integers beyond 64 bits, which it gives as floats. No category takes a float; other fields take both alike.

A body is weighed before it is parsed: a short text can stand for millions of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from loadcast import schema
from loadcast.kernels.features import Feature, FeatureSet
from loadcast.serving.columns import Columns, number_names, whole_names
from loadcast.serving.defaults import MAX_RECORDS
from loadcast.serving.request_contract import MAX_BODY_BYTES, RequestContract, address_text, hour_text

Record = dict[str, Any]
_HOUR_CHARACTERS = 19
_DOUBTS = (orjson.JSONDecodeError, LookupError, TypeError, ValueError, OverflowError)
_server_of = itemgetter(schema.SERVER)
_hour_of = itemgetter(schema.HOUR)


class FastReader:
    """Reads requests for models of `features`, as `contract` does."""

    def __init__(self, features: FeatureSet, contract: RequestContract) -> None:
        self._allowed = contract.allowed
        by_name = {feature.name: feature for feature in features.features}
        self._whole = _Block([by_name[name] for name in whole_names(features)], np.dtype(np.int64), {int})
        self._numbers = _Block([by_name[name] for name in number_names(features)], np.dtype(np.float64), {int, float})
        self._required = frozenset((schema.SERVER, schema.HOUR, *by_name))

    def read(self, body: bytes) -> Columns | None:
        """The records of a request; None where the contract is to say what they are, or what is wrong."""
        n_objects = body.count(b"{")
        if len(body) > MAX_BODY_BYTES or n_objects > MAX_RECORDS or b"\\" in body:
            return None
        if body.count(b",") > n_objects * len(self._allowed):
            return None
        try:
            return self._columns(orjson.loads(body), body.count(b'"') // 2)
        except _DOUBTS:
            return None

    def _columns(self, records: Any, n_texts: int) -> Columns | None:
        if type(records) is not list or set(map(type, records)) != {dict}:
            return None
        fields = tuple(records[0])
        if set(map(tuple, records)) != {fields} or not self._required <= set(fields) <= self._allowed:
            return None
        servers, hours = list(map(_server_of, records)), list(map(_hour_of, records))
        if set(map(type, chain(servers, hours))) != {str} or set(map(len, hours)) != {_HOUR_CHARACTERS}:
            return None
        others = [record[name] for name in fields if name not in self._required for record in records]
        if not set(map(type, others)) <= {str, int, float}:
            return None
        if n_texts != len(records) * (len(fields) + 2) + sum(type(value) is str for value in others):
            return None
        addresses, times = list(map(address_text, servers)), list(map(hour_text, hours))
        whole, numbers = self._whole.values(records), self._numbers.values(records)
        if whole is None or numbers is None or None in addresses or None in times:
            return None
        return Columns(addresses, times, whole, numbers)  # type: ignore[arg-type]  # None is in neither


class _Block:
    """Features of one type, whose values are taken out of the records and judged together."""

    def __init__(self, features: list[Feature], dtype: np.dtype[Any], types: set[type]) -> None:
        self._dtype, self._types, self._width = dtype, types, len(features)
        self._values_of = _getter([feature.name for feature in features])
        self._low, self._high = (np.array([getattr(feature, end) for feature in features]) for end in ("low", "high"))
        self._has_ends = bool(np.isfinite([self._low, self._high]).any())

    def values(self, records: list[Record]) -> NDArray[Any] | None:
        """The values, (n, features), or None unless all of them are plainly right."""
        flat = list(chain.from_iterable(map(self._values_of, records)))
        if not set(map(type, flat)) <= self._types:
            return None
        values = np.array(flat, dtype=self._dtype).reshape(len(records), self._width)
        if not np.isfinite(values).all():
            return None
        if self._has_ends and ((values < self._low).any() or (values > self._high).any()):
            return None
        return values


def _getter(names: list[str]) -> Callable[[Record], Iterable[Any]]:
    """A function that takes these fields out of a record, as many as there are."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: [record[name] for name in names]
