"""The quick way for plain requests: bytes → columns, or None on any doubt; then the request contract decides.

What is taken here the contract takes as well, with the same values: a JSON array of flat records that have the same
fields in the same order. orjson, which parses it, hides two things that the contract sees:

- A field that stands twice. Without backslashes every quotation mark begins or ends a text, so it is known how many
  texts there are, names of fields included; one that was dropped is missing among those that are left.
- Integers beyond 64 bits, which it gives as floats. No category takes a float; other fields take both alike.

A body is weighed before it is parsed: a short text can stand for millions of values.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from loadcast import schema
from loadcast.serving.columns import Columns
from loadcast.serving.defaults import MAX_BODY_BYTES, MAX_RECORDS
from loadcast.serving.request_contract import DOUBTS, RequestContract

#: A body of so many bytes takes a few megabytes at most, whatever it holds.
_LIGHT_BYTES = 128 << 10
_QUOTE = ord('"')


class FastReader:
    """Reads requests as `contract` does."""

    def __init__(self, contract: RequestContract) -> None:
        self._contract, self._allowed = contract, contract.allowed
        self._required = tuple(contract.schema.names)
        self._values_of = itemgetter(*self._required)

    def read(self, body: bytes) -> Columns | None:
        """The records of a request; None where the contract is to say what they are, or what is wrong."""
        if b"\\" in body or (len(body) > _LIGHT_BYTES and self._is_heavy(body)):
            return None
        n_texts = int(np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == _QUOTE)) // 2
        try:
            return self._columns(orjson.loads(body), n_texts)
        except DOUBTS:
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
        columns = dict(zip(self._required, zip(*map(self._values_of, records), strict=True), strict=True))
        others = [name for name in fields if name not in columns]
        if not self._allowed.issuperset(others):
            return None
        values = [record[name] for name in others for record in records]
        texts = [*columns[schema.SERVER], *columns[schema.HOUR]]
        if set(map(type, texts)) != {str} or not {str, int, float}.issuperset(map(type, values)):
            return None
        n_own_texts = len(records) * len(fields) + len(texts) + sum(type(value) is str for value in values)
        return self._contract.plain_columns(columns, len(records)) if n_texts == n_own_texts else None
