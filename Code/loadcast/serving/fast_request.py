"""The quick way for plain requests: bytes → columns, or None on any doubt; then the request contract decides.

What is taken here the contract takes as well, with the same values: a JSON array of flat records that have the same
fields in the same order. orjson, which parses it, hides two things that the contract sees:

- A field that stands twice. Without backslashes every quotation mark begins or ends a text, so it is known how many
  texts there are, names of fields included; one that was dropped is missing among those that are left.
- Integers beyond 64 bits, which it gives as floats. No category takes a float; other fields take both alike.

A body is weighed before it is parsed: a short text can stand for millions of values.
"""

from __future__ import annotations

from collections.abc import Sequence
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
#: A body of so many bytes takes a few megabytes at most, whatever it holds.
_LIGHT_BYTES = 128 << 10
_QUOTE = ord('"')
_DOUBTS = (orjson.JSONDecodeError, LookupError, TypeError, ValueError, OverflowError)


class FastReader:
    """Reads requests for models of `features`, as `contract` does."""

    def __init__(self, features: FeatureSet, contract: RequestContract) -> None:
        self._allowed = contract.allowed
        by_name = {feature.name: feature for feature in features.features}
        whole, numbers = whole_names(features), number_names(features)
        self._whole = _Block([by_name[name] for name in whole], np.dtype(np.int64), frozenset((int,)))
        self._numbers = _Block([by_name[name] for name in numbers], np.dtype(np.float64), frozenset((int, float)))
        self._required = (schema.SERVER, schema.HOUR, *whole, *numbers)
        self._n_whole, self._n_required = len(whole), len(self._required)
        self._values_of = itemgetter(*self._required)

    def read(self, body: bytes) -> Columns | None:
        """The records of a request; None where the contract is to say what they are, or what is wrong."""
        if b"\\" in body or (len(body) > _LIGHT_BYTES and self._is_heavy(body)):
            return None
        n_texts = int(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == _QUOTE)) // 2
        try:
            return self._columns(orjson.loads(body), n_texts)
        except _DOUBTS:
            return None

    def _is_heavy(self, body: bytes) -> bool:
        n_objects = body.count(b"{")
        is_large = len(body) > MAX_BODY_BYTES or n_objects > MAX_RECORDS
        return is_large or body.count(b",") > n_objects * len(self._allowed)

    def _columns(self, records: Any, n_texts: int) -> Columns | None:
        if type(records) is not list or set(map(type, records)) != {dict} or len(records) > MAX_RECORDS:
            return None
        # As many fields as the first record has, and among them all of its fields: so they are the same.
        fields = records[0]
        if set(map(len, records)) != {len(fields)}:
            return None
        servers, hours, *columns = zip(*map(self._values_of, records), strict=True)
        if len(fields) == self._n_required:
            n_more_texts = 0
        else:
            others = [name for name in fields if name not in self._required]
            if not self._allowed.issuperset(others):
                return None
            n_more_texts = _count_texts([record[name] for name in others for record in records])
        if n_texts != len(records) * (len(fields) + 2) + n_more_texts:
            return None
        if set(map(type, chain(servers, hours))) != {str} or set(map(len, hours)) != {_HOUR_CHARACTERS}:
            return None
        addresses, times = list(map(address_text, servers)), list(map(hour_text, hours))
        whole = self._whole.values(columns[: self._n_whole], len(records))
        numbers = self._numbers.values(columns[self._n_whole :], len(records))
        if whole is None or numbers is None or None in addresses or None in times:
            return None
        return Columns(addresses, times, whole, numbers)  # type: ignore[arg-type]  # None is in neither


class _Block:
    """Features of one type, whose values are judged together."""

    def __init__(self, features: list[Feature], dtype: np.dtype[Any], types: frozenset[type]) -> None:
        self._dtype, self._types = dtype, types
        self._low, self._high = (
            np.array([[getattr(feature, end)] for feature in features], dtype=np.float64) for end in ("low", "high")
        )
        self._has_ends = bool(np.isfinite([self._low, self._high]).any())

    def values(self, columns: Sequence[Sequence[Any]], n: int) -> NDArray[Any] | None:
        """The values of the features' columns, (n, features), or None unless all of them are plainly right."""
        if not self._types.issuperset(map(type, chain.from_iterable(columns))):
            return None
        values = np.array(columns, dtype=self._dtype).reshape(len(columns), n)
        if not np.isfinite(values).all():
            return None
        if self._has_ends and ((values < self._low).any() or (values > self._high).any()):
            return None
        return np.ascontiguousarray(values.T)


def _count_texts(values: list[Any]) -> int:
    """How many of these values are texts. Raises TypeError where one of them is neither text nor number."""
    types = list(map(type, values))
    if not {str, int, float}.issuperset(types):
        raise TypeError
    return types.count(str)
