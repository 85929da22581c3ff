"""Feature records as bodies of requests, sized by records and by bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

Record = Mapping[str, Any]
#: What json refuses, too, or writes in another way, is left to it.
_AS_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_FRAME_BYTES = len(b"[]")


@dataclass(frozen=True)
class Batch:
    """Records of one request, each with its JSON."""

    records: tuple[Record, ...]
    encoded: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The request's body."""
        return b"[%b]" % b",".join(self.encoded)

    @property
    def size_bytes(self) -> int:
        """Length of the body."""
        return _FRAME_BYTES + sum(map(len, self.encoded)) + max(0, len(self.encoded) - 1)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches of two or more records, in order."""
        middle = len(self.records) // 2
        return self.cut(0, middle), self.cut(middle, len(self.records))

    def cut(self, begin: int, end: int) -> Batch:
        """The records from `begin` to before `end`."""
        return Batch(self.records[begin:end], self.encoded[begin:end])


def encode(record: Record) -> bytes:
    """A record as JSON. Raises ValueError for a number that is not finite, TypeError for what JSON does not have."""
    try:
        encoded = orjson.dumps(record, option=_AS_JSON)
    except TypeError:
        return json.dumps(record, allow_nan=False).encode()
    # orjson has null for a number that is not finite.
    return json.dumps(record, allow_nan=False).encode() if b"null" in encoded else encoded


def batched(records: Iterable[Record], most_records: int, most_bytes: int) -> Iterator[Batch]:
    """All records in order, as many to a batch as both limits let; a record over `most_bytes` is a batch of its own."""
    kept: list[tuple[Record, bytes]] = []
    size = _FRAME_BYTES
    for record in records:
        encoded = encode(record)
        if kept and size + len(encoded) > most_bytes:
            yield _batch(kept)
            kept, size = [], _FRAME_BYTES
        kept.append((record, encoded))
        size += len(encoded) + 1
        if len(kept) == most_records:
            yield _batch(kept)
            kept, size = [], _FRAME_BYTES
    if kept:
        yield _batch(kept)


def _batch(kept: list[tuple[Record, bytes]]) -> Batch:
    records, encoded = zip(*kept, strict=True)
    return Batch(records, encoded)
