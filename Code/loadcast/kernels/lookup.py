"""Compiled code of the scan: servers' names and the sums' slots, found by hash in the scan's tables."""

from __future__ import annotations

import numpy as np

from loadcast.kernels.buckets import Float64s
from loadcast.kernels.scan_tables import (
    NAME_WORDS,
    NAMES,
    NAMES_INDEXED,
    PENDING,
    PENDING_DONE,
    SLOTS,
    SLOTS_INDEXED,
    WIDTH,
    Tables,
)
from loadcast.kernels.words import Bytes, inner, load_some, mixed

_WORD = 8  # bytes

# --- names of servers -----------------------------------------------------------------------------------------------


@inner
def _hash_of(data: Bytes, begin: int, length: int) -> np.uint64:
    digest = mixed(load_some(data, begin, length), load_some(data, begin + _WORD, length - _WORD))
    for offset in range(2 * _WORD, length, _WORD):
        digest = mixed(digest, load_some(data, begin + offset, length - offset))
    return digest


@inner
def _is_name(tables: Tables, name: int, data: Bytes, begin: int, length: int) -> bool:
    if tables.name_lengths[name] != length:
        return False
    for number in range((length + _WORD - 1) // _WORD):
        offset = number * _WORD
        if tables.names[name, number] != load_some(data, begin + offset, length - offset):
            return False
    return True


@inner
def find_name(tables: Tables, data: Bytes, begin: int, end: int) -> int:
    """The number of a name; -1 where it is new."""
    last = len(tables.name_index) - 1
    position = np.int64(_hash_of(data, begin, end - begin)) & last
    name = tables.name_index[position]
    while name >= 0 and not _is_name(tables, name, data, begin, end - begin):
        position = (position + 1) & last
        name = tables.name_index[position]
    return name


@inner
def add_name(tables: Tables, data: Bytes, begin: int, end: int) -> None:
    """Note a new name, for which there must be room."""
    name = tables.used[NAMES]
    for number in range(NAME_WORDS):
        offset = number * _WORD
        tables.names[name, number] = load_some(data, begin + offset, end - begin - offset)
    tables.name_lengths[name] = end - begin
    tables.name_hashes[name] = _hash_of(data, begin, end - begin)
    tables.used[NAMES] = name + 1
    index_names(tables)


@inner
def index_names(tables: Tables) -> None:
    """Make those names findable that are not yet."""
    last = len(tables.name_index) - 1
    for name in range(tables.used[NAMES_INDEXED], tables.used[NAMES]):
        position = np.int64(tables.name_hashes[name]) & last
        while tables.name_index[position] >= 0:
            position = (position + 1) & last
        tables.name_index[position] = name
    tables.used[NAMES_INDEXED] = tables.used[NAMES]


# --- sums -----------------------------------------------------------------------------------------------------------


@inner
def _position_of(tables: Tables, code: int, bucket: int) -> int:
    """The position in the index that has the slot of a server and bucket, or is free for it."""
    last = len(tables.slot_index) - 1
    position = np.int64(mixed(np.uint64(code), np.uint64(bucket))) & last
    slot = tables.slot_index[position]
    while slot >= 0 and not (tables.slot_records[slot, 0] == code and tables.slot_records[slot, 1] == bucket):
        position = (position + 1) & last
        slot = tables.slot_index[position]
    return position


@inner
def slot_of(tables: Tables, code: int, bucket: int) -> int:
    """The slot of a server and bucket, made where there is none yet; there must be room for one."""
    if tables.last_buckets[code] == bucket:
        return tables.last_slots[code]
    position = _position_of(tables, code, bucket)
    slot = np.int64(tables.slot_index[position])
    if slot < 0:
        slot = tables.used[SLOTS]
        tables.slot_index[position] = slot
        tables.slot_records[slot, 0], tables.slot_records[slot, 1] = code, bucket
        tables.used[SLOTS] = tables.used[SLOTS_INDEXED] = slot + 1
    tables.last_buckets[code], tables.last_slots[code] = bucket, slot
    return slot


@inner
def index_slots(tables: Tables) -> None:
    """Make those slots findable that are not yet."""
    for slot in range(tables.used[SLOTS_INDEXED], tables.used[SLOTS]):
        position = _position_of(tables, tables.slot_records[slot, 0], tables.slot_records[slot, 1])
        tables.slot_index[position] = slot
    tables.used[SLOTS_INDEXED] = tables.used[SLOTS]


@inner
def add_row(tables: Tables, slot: int, values: Float64s) -> None:
    """Add a row's numbers to a slot's sums; those not above 0 are missing or 0.

    What each addition rounds off is added up as well, so that neither the order nor the number of terms shows.
    """
    for measure in range(WIDTH):
        value = values[measure] if values[measure] > 0.0 else 0.0
        before = tables.sums[slot, measure]
        after = before + value
        added = after - before
        tables.sums[slot, measure] = after
        tables.sums[slot, WIDTH + measure] += (before - (after - added)) + (value - added)
    tables.slot_records[slot, 2] += 1


@inner
def slots_full(tables: Tables) -> bool:
    return tables.used[SLOTS] == len(tables.slot_records)


@inner
def add_pending(tables: Tables) -> bool:
    """Add the rows that were read singly; False where there is no room for all of them."""
    for row in range(tables.used[PENDING_DONE], tables.used[PENDING]):
        if slots_full(tables):
            return False
        slot = slot_of(tables, tables.pending_keys[row, 0], tables.pending_keys[row, 1])
        add_row(tables, slot, tables.pending[row])
        tables.used[PENDING_DONE] = row + 1
    tables.used[PENDING] = tables.used[PENDING_DONE] = 0
    return True
