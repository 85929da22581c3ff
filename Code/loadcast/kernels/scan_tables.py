"""What the scan keeps from line to line: the names of servers it has met, and the sums. Arrays, and how they grow."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s

Uint64s = npt.NDArray[np.uint64]
Int32s = npt.NDArray[np.int32]
Scalar = TypeVar("Scalar", bound=np.generic)

WIDTH = len(schema.MEASURES)
REPAIRS = (schema.Repair.MISSING, schema.Repair.NOT_A_NUMBER, schema.Repair.NEGATIVE, schema.Repair.TOO_LARGE)
#: A name is kept in this many words of eight bytes: enough for any IP address.
NAME_WORDS = 6
LONGEST_NAME = 8 * NAME_WORDS
#: A bucket that no time is in.
NO_BUCKET = -(1 << 62)

# What is known of a server's text: the code of the server it names, or one of these.
NOT_WANTED, BAD_NAME, HEADER_NAME = -1, -2, -3

# Indices into Tables.used.
NAMES, NAMES_INDEXED, NAMES_JUDGED, SLOTS, SLOTS_INDEXED, EVENTS, PENDING, PENDING_DONE = range(8)
# Indices into Tables.counts.
BLANK, GOOD, OUTSIDE_PERIOD, OTHER_SERVER = range(4)

_EVENTS = 4096
_FIRST_NAMES, _FIRST_SLOTS = 1024, 8192


class Tables(NamedTuple):
    """Arrays that compiled code fills. Those of names and of slots can be full, and are then replaced by larger ones.

    A slot is a server and bucket. Both are found by hash: the index has the number of a name or slot, or -1, at the
    position that the hash says or, where others are, at one of the next.
    """

    used: Int64s  # how many entries of the others are
    counts: Int64s
    repaired: Int64s  # (measure, index in REPAIRS)
    breaches: Int64s  # by measure
    events: Int64s  # (event, 3): where a line begins and ends, and what it needs or why it is rejected

    values: Float64s  # of the line at hand
    time: Uint64s  # the text of the last time read, and its second
    second: Int64s

    name_index: Int32s
    names: Uint64s  # (name, NAME_WORDS), 0 behind its end
    name_lengths: Int64s
    name_hashes: Uint64s
    targets: Int64s  # by name
    last_buckets: Int64s  # by code: the bucket and slot of the server's last row
    last_slots: Int64s

    slot_index: Int32s
    slot_records: Int64s  # (slot, 3): code, bucket, rows
    sums: Float64s  # (slot, 2 × WIDTH): sums, and what rounding took from them

    pending_keys: Int64s  # (row, 2): code and bucket of rows that were read singly
    pending: Float64s  # (row, WIDTH)


def new_tables() -> Tables:
    """Tables of nothing."""
    none = np.zeros(0, dtype=np.int64)
    empty = Tables(
        np.zeros(PENDING_DONE + 1, dtype=np.int64),
        np.zeros(OTHER_SERVER + 1, dtype=np.int64),
        np.zeros((WIDTH, len(REPAIRS)), dtype=np.int64),
        np.zeros(WIDTH, dtype=np.int64),
        np.zeros((_EVENTS, 3), dtype=np.int64),
        np.zeros(WIDTH),
        np.zeros(3, dtype=np.uint64),
        np.zeros(1, dtype=np.int64),
        *(np.zeros(0, dtype=np.int32), np.zeros((0, NAME_WORDS), dtype=np.uint64), none, np.zeros(0, dtype=np.uint64)),
        *(none, none, none),
        *(np.zeros(0, dtype=np.int32), np.zeros((0, 3), dtype=np.int64), np.zeros((0, 2 * WIDTH))),
        np.zeros((_EVENTS, 2), dtype=np.int64),
        np.zeros((_EVENTS, WIDTH)),
    )
    return with_slots(with_names(empty, _FIRST_NAMES), _FIRST_SLOTS)


def with_names(tables: Tables, number: int) -> Tables:
    """The tables with room for this many names."""
    tables.used[NAMES_INDEXED] = 0
    last_buckets = np.full(number, NO_BUCKET, dtype=np.int64)
    last_buckets[: len(tables.last_buckets)] = tables.last_buckets
    return tables._replace(
        name_index=_new_index(number),
        names=_longer(tables.names, number),
        name_lengths=_longer(tables.name_lengths, number),
        name_hashes=_longer(tables.name_hashes, number),
        targets=_longer(tables.targets, number),
        last_buckets=last_buckets,
        last_slots=_longer(tables.last_slots, number),
    )


def forget_names(tables: Tables) -> None:
    """Forget all names but one of each server in the sums."""
    codes, kept = np.unique(tables.targets[: tables.used[NAMES]], return_index=True)
    kept = kept[codes >= 0]
    for array in (tables.names, tables.name_lengths, tables.name_hashes, tables.targets):
        array[: len(kept)] = array[kept]
    tables.used[NAMES] = tables.used[NAMES_JUDGED] = len(kept)
    tables.used[NAMES_INDEXED] = 0
    tables.name_index[:] = -1


def with_slots(tables: Tables, number: int) -> Tables:
    """The tables with room for this many slots."""
    tables.used[SLOTS_INDEXED] = 0
    return tables._replace(
        slot_index=_new_index(number),
        slot_records=_longer(tables.slot_records, number),
        sums=_longer(tables.sums, number),
    )


def _new_index(number: int) -> Int32s:
    """An index that is at most half full; its length is a power of two."""
    return np.full(1 << (2 * number - 1).bit_length(), -1, dtype=np.int32)


def _longer(array: npt.NDArray[Scalar], number: int) -> npt.NDArray[Scalar]:
    longer: npt.NDArray[Scalar] = np.zeros((number, *array.shape[1:]), dtype=array.dtype)
    longer[: len(array)] = array
    return longer
