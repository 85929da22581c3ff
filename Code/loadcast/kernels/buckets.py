"""Sums per server and 5 minutes: made of rows, packed for the shuffle, and put together again.

A packed record is little-endian `bucket int32 (BucketStart ÷ 300 s since 1970), count int32, sums 8 × float64`: 72
bytes. The records of
one server travel as one binary value, so that what crosses to the JVM and through the shuffle is a few large values,
not millions of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loadcast import schema
from loadcast.errors import InputError

RECORD = np.dtype([("bucket", "<i4"), ("count", "<i4"), ("sums", "<f8", (len(schema.MEASURES),))])
#: Records in one packed value at most (1.2 MB), so that a batch of values stays within a bound.
MAX_RECORDS = 16_384
#: What the offsets of one binary array reach.
MAX_PACKED_BYTES = 2**31 - 1
SIGNIFICANT_DIGITS = 14
_FEW_TERMS = 256
_LARGEST_POWER = 300.0

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Buckets:
    """Sums of several servers.

    Arrays of one length m, sorted by (code, bucket) and unique in it; codes index `servers`.
    """

    servers: tuple[str, ...]
    codes: Int64s
    buckets: Int64s
    counts: Int64s
    sums: Float64s  # (m, 8), in the order of schema.MEASURES


def merge(servers: tuple[str, ...], codes: Int64s, buckets: Int64s, counts: Int64s, sums: Float64s) -> Buckets:
    """Add up entries of the same server and bucket; the entries may come in any order."""
    if len(codes) == 0:
        empty = np.zeros(0, dtype=np.int64)
        return Buckets(servers, empty, empty, empty, np.zeros((0, len(schema.MEASURES))))
    low = int(buckets.min())
    span = int(buckets.max()) - low + 1
    keys = codes * span + (buckets - low)
    if len(servers) * span <= 4 * len(keys) + 1024:
        return _merge_dense(servers, (keys, low, span), counts, sums)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    heads = ordered[starts]
    return Buckets(
        servers,
        heads // span,
        heads % span + low,
        np.add.reduceat(counts[order], starts),
        _sum_of_parts(sums[order], _many(np.diff(starts)), lambda part: np.add.reduceat(part, starts, axis=0)),
    )


def _merge_dense(
    servers: tuple[str, ...], key_range: tuple[Int64s, int, int], counts: Int64s, sums: Float64s
) -> Buckets:
    """As merge, where most of servers × buckets occur: a table filled by position needs no sort."""
    keys, low, span = key_range
    size = len(servers) * span
    totals = np.bincount(keys, weights=counts, minlength=size)
    present = np.flatnonzero(totals)

    def add(part: Float64s) -> Float64s:
        columns = [np.bincount(keys, weights=column, minlength=size)[present] for column in part.T]
        return np.stack(columns, axis=1)

    return Buckets(
        servers,
        present // span,
        present % span + low,
        totals[present].astype(np.int64),
        _sum_of_parts(sums, _many(totals), add),
    )


def _many(numbers: npt.NDArray[Any]) -> bool:
    return bool(len(numbers)) and numbers.max() > _FEW_TERMS


def _sum_of_parts(sums: Float64s, many: bool, add: Callable[[Float64s], Float64s]) -> Float64s:
    """`add` of the values; where a sum has many terms, of their coarse and fine parts apart.

    The coarse parts, multiples of 1/1024, add up without rounding; that of the fine ones is too small to matter.
    So a sum of very many terms is as good as one of few, and does not show their order either.
    """
    if not many:
        return add(sums)
    coarse = np.rint(sums * 1024) / 1024
    return add(coarse) + add(sums - coarse)


def round_sums(values: Float64s) -> Float64s:
    """Round non-negative numbers to 14 significant digits.

    A sum of doubles depends in its last bits on the order of its terms; a sum of decimals of up to 14 digits, rounded
    so, does not.
    """
    with np.errstate(divide="ignore"):
        magnitude = np.floor(np.log10(values))
    exponent = np.where(np.isfinite(magnitude), SIGNIFICANT_DIGITS - 1 - magnitude, 0.0)
    up = 10.0 ** np.clip(exponent, 0.0, _LARGEST_POWER)
    down = 10.0 ** np.maximum(-exponent, 0.0)
    # No double is as large as the power of ten that numbers below 1e-287 need: they are taken up in two steps.
    rest = np.maximum(exponent - _LARGEST_POWER, 0.0)
    more = 10.0**rest if rest.any() else 1.0
    # Adding 0.0 makes 0 of -0, which a sum of nothing but -0 is on one path and not on the other.
    rounded: Float64s = np.rint(values * up * more / down) * down / up / more + 0.0
    return rounded


def pack(sums: Buckets) -> tuple[pa.Array, pa.Array]:
    """Packed records as (ServerIP, payload): one value per server, more where a server has over MAX_RECORDS.

    Raises InputError for more sums than one array can hold.
    """
    if len(sums.codes) * RECORD.itemsize > MAX_PACKED_BYTES:
        raise InputError(
            f"One compressed file holds {len(sums.codes):,} pairs of server and 5 minutes; "
            f"wanted at most {MAX_PACKED_BYTES // RECORD.itemsize:,}. Cut it into smaller files."
        )
    records = np.empty(len(sums.codes), dtype=RECORD)
    records["bucket"], records["count"], records["sums"] = sums.buckets, sums.counts, sums.sums
    starts = np.flatnonzero(np.diff(sums.codes, prepend=-1))
    ends = np.append(starts[1:], len(records))
    pieces = -(-(ends - starts) // MAX_RECORDS)
    piece_of_run = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    offsets = np.append(np.repeat(starts, pieces) + piece_of_run * MAX_RECORDS, len(records)) * RECORD.itemsize
    names = pa.array(sums.servers, pa.string()).take(pa.array(np.repeat(sums.codes[starts], pieces)))
    payloads = pa.BinaryArray.from_buffers(
        pa.binary(), len(names), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(records)]
    )
    return names, payloads


def unpack(servers: pa.Array, payloads: pa.Array) -> Buckets:
    """Undo `pack` for any values put together: sums of the same server and bucket are added up."""
    encoded = servers.dictionary_encode()
    data, lengths = _binary_data(payloads)
    records = np.frombuffer(data, dtype=RECORD)
    return merge(
        tuple(encoded.dictionary.to_pylist()),
        np.repeat(encoded.indices.to_numpy().astype(np.int64), lengths // RECORD.itemsize),
        records["bucket"].astype(np.int64),
        records["count"].astype(np.int64),
        np.ascontiguousarray(records["sums"]),
    )


def compact(servers: pa.Array, payloads: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Packed values of the same meaning, with one record per server and bucket."""
    return pack(unpack(servers, payloads))


def _binary_data(values: pa.Array) -> tuple[memoryview, Int64s]:
    """The bytes of a binary array as one run, and the length of each value."""
    wide = isinstance(values, pa.LargeBinaryArray)
    _, offset_buffer, data = values.buffers()
    offsets = np.frombuffer(offset_buffer, dtype=np.int64 if wide else np.int32)
    offsets = offsets[values.offset : values.offset + len(values) + 1].astype(np.int64)
    view = memoryview(data) if data is not None else memoryview(b"")
    return view[offsets[0] : offsets[-1]] if len(offsets) else view[:0], np.diff(offsets)
