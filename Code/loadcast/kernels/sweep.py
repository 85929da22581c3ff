"""Compiled code of the scan: one pass over the bytes of a block, from its lines to sums and counts.

Rows are placed, checked and summed as `rows.parse_row` and the period, servers and contract say. What is left to the
caller comes back as events, in the order of the lines: rejected rows, with their reason, and lines that only parse_row
can read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loadcast import schema
from loadcast.kernels.buckets import Float64s, Int64s
from loadcast.kernels.data_contract import Contract
from loadcast.kernels.fields import (
    NO_TIME,
    UNSURE,
    UNSURE_TIME,
    field_at,
    is_blank,
    is_delimiter,
    number_at,
    skip_field,
    time_of,
)
from loadcast.kernels.lookup import (
    add_name,
    add_pending,
    add_row,
    find_name,
    index_names,
    index_slots,
    slot_of,
    slots_full,
)
from loadcast.kernels.scan_tables import (
    BAD_NAME,
    BLANK,
    EVENTS,
    GOOD,
    HEADER_NAME,
    LONGEST_NAME,
    NAMES,
    NOT_WANTED,
    OTHER_SERVER,
    OUTSIDE_PERIOD,
    WIDTH,
    Tables,
    new_tables,
)
from loadcast.kernels.words import COMMA, CR, LF, Bytes, inner, load, next_low, ready, word

#: What a column is to the scan; a measure is MEASURE + its index in schema.MEASURES.
UNUSED, START, SERVER, MEASURE = range(4)
#: Why a pass ends: all is read; new names must be judged; tables of names or slots or the list of events are full.
DONE, NAMES_NEW, NAMES_FULL, SLOTS_FULL, EVENTS_FULL = range(5)
#: What an event's line is: to be read singly, or rejected.
REASONS = (None, *schema.Reason)
_SINGLY, _FIELD_COUNT, _HEADER, _SERVER_IP, _SESSION_START, _CONTRACT = range(len(REASONS))
_KEPT = -1

_LINES_AHEAD = 64
_COMMA_OFFSET = 19  # behind a time
_NEVER = word((1 << 64) - 1)
_SECONDS = schema.BUCKET_SECONDS


class Rules(NamedTuple):
    """What is read of a row, and which rows are kept."""

    kinds: Int64s  # by column
    period: Int64s  # first and last second
    low: Float64s  # bounds of the measures; no entries where there is no contract
    high: Float64s
    reject: npt.NDArray[np.bool_]


# --- lines ----------------------------------------------------------------------------------------------------------


@inner
def _read_time(tables: Tables, data: Bytes, position: int) -> int:
    """Read SessionStart; its delimiter. Logs are near sorted: mostly it is the time read last."""
    start, middle, end = load(data, position), load(data, position + 8), load(data, position + 12)
    memo = tables.time
    if start == memo[0] and middle == memo[1] and end == memo[2]:
        return position + _COMMA_OFFSET
    if position + _COMMA_OFFSET < len(data) and data[position + _COMMA_OFFSET] == COMMA:
        tables.second[0] = time_of(data, position, position + _COMMA_OFFSET)
        if tables.second[0] > NO_TIME:
            memo[0], memo[1], memo[2] = start, middle, end
            return position + _COMMA_OFFSET
    memo[1], memo[2] = _NEVER, _NEVER >> np.uint64(1)  # they overlap in four bytes: no text is both
    begin, stop, delimiter = field_at(data, position)
    tables.second[0] = time_of(data, begin, stop)
    return delimiter


@inner
def _read_name(tables: Tables, data: Bytes, position: int) -> tuple[int, int, int]:
    """Where the server's text is, from and to, and its delimiter."""
    end = next_low(data, position)
    return (position, end, end) if is_delimiter(data[end]) else field_at(data, position)


@inner
def _read_fields(data: Bytes, position: int, rules: Rules, tables: Tables) -> tuple[int, int, tuple[int, int]]:
    """Read a line's fields: how many it has, the last delimiter seen, and where the server's text is.

    One more than there are columns stands for any larger number, and -1 for a line that must be read singly.
    """
    sure = True
    begin, end = position, position
    columns = len(rules.kinds)
    for column in range(columns):
        kind = rules.kinds[column]
        if kind == UNUSED:
            position = skip_field(data, position)
        elif kind >= MEASURE:
            tables.values[kind - MEASURE], position = number_at(data, position)
            sure = sure and tables.values[kind - MEASURE] != UNSURE
        elif kind == START:
            position = _read_time(tables, data, position)
        else:
            begin, end, position = _read_name(tables, data, position)
        if position < 0:
            return -1, position, (begin, end)
        if data[position] != COMMA:
            return (column + 1 if sure or column + 1 < columns else -1), position, (begin, end)
        position += 1
    return columns + 1, position, (begin, end)


@inner
def _line_end(data: Bytes, position: int) -> int:
    while data[position] != LF and data[position] != CR:
        position += 1
    return position


@inner
def _next_line(data: Bytes, end: int) -> int:
    return end + (2 if data[end] == CR and end + 1 < len(data) and data[end + 1] == LF else 1)


@inner
def _is_blank_line(data: Bytes, position: int, end: int) -> bool:
    while position < end and is_blank(data[position]):
        position += 1
    return position == end


# --- rows -----------------------------------------------------------------------------------------------------------


@inner
def _breaks_contract(rules: Rules, tables: Tables) -> bool:
    broken = False
    for measure in range(len(rules.low)):
        value = tables.values[measure]
        if value >= 0.0 and not (value >= rules.low[measure] and value <= rules.high[measure]):
            tables.breaches[measure] += 1
            broken = broken or rules.reject[measure]
    return broken


@inner
def _keep(rules: Rules, tables: Tables, target: int) -> int:
    """Count a row that is placed, and add it to the sums where it is wanted; _KEPT or _CONTRACT."""
    second = tables.second[0]
    if second < rules.period[0] or second > rules.period[1]:
        tables.counts[OUTSIDE_PERIOD] += 1
        return _KEPT
    if target == NOT_WANTED:
        tables.counts[OTHER_SERVER] += 1
        return _KEPT
    if len(rules.low) > 0 and _breaks_contract(rules, tables):
        return _CONTRACT
    add_row(tables, slot_of(tables, target, second // _SECONDS), tables.values)
    tables.counts[GOOD] += 1
    least = 0.0
    for measure in range(WIDTH):
        least = min(least, tables.values[measure])
    if least < 0.0:
        for measure in range(WIDTH):
            if tables.values[measure] < 0.0:
                tables.repaired[measure, np.int64(-1.0 - tables.values[measure])] += 1
    return _KEPT


@inner
def _judge(rules: Rules, tables: Tables, fields: int, target: int) -> int:
    """What becomes of a line with so many fields and this server: _KEPT or an event's reason."""
    if fields < 0:
        return _SINGLY
    if fields != len(rules.kinds):
        return _FIELD_COUNT
    if target == HEADER_NAME:
        return _HEADER
    if tables.second[0] == UNSURE_TIME:
        return _SINGLY
    if target == BAD_NAME:
        return _SERVER_IP
    if tables.second[0] == NO_TIME:
        return _SESSION_START
    return _keep(rules, tables, target)


@inner
def _note(tables: Tables, begin: int, end: int, reason: int) -> None:
    event = tables.used[EVENTS]
    tables.events[event, 0], tables.events[event, 1], tables.events[event, 2] = begin, end, reason
    tables.used[EVENTS] = event + 1


@inner
def _learn_names(data: Bytes, position: int, rules: Rules, tables: Tables) -> int:
    """Note the new names from this line on, until there are none for a while; NAMES_NEW or NAMES_FULL."""
    ahead = 0
    status = NAMES_FULL
    while position < len(data) and ahead < _LINES_AHEAD:
        fields, end, (begin, stop) = _read_fields(data, position, rules, tables)
        ahead += 1
        named = fields == len(rules.kinds) and stop - begin <= LONGEST_NAME
        if named and find_name(tables, data, begin, stop) < 0:
            if tables.used[NAMES] == len(tables.names):
                return status
            add_name(tables, data, begin, stop)
            status = NAMES_NEW
            ahead = 0
        position = _next_line(data, _line_end(data, position if end < 0 else end))
    return status


@inner
def _sweep_lines(data: Bytes, position: int, rules: Rules, tables: Tables) -> tuple[int, int]:
    index_names(tables)
    index_slots(tables)
    if not add_pending(tables):
        return SLOTS_FULL, position
    while position < len(data):
        if tables.used[EVENTS] == len(tables.events):
            return EVENTS_FULL, position
        if slots_full(tables):
            return SLOTS_FULL, position
        fields, end, (begin, stop) = _read_fields(data, position, rules, tables)
        target = BAD_NAME
        if fields == len(rules.kinds):
            if stop - begin <= LONGEST_NAME:
                name = find_name(tables, data, begin, stop)
                if name < 0:
                    return _learn_names(data, position, rules, tables), position
                target = tables.targets[name]
        else:
            end = _line_end(data, position if end < 0 else end)
        if fields == 1 and _is_blank_line(data, position, end):
            tables.counts[BLANK] += 1
        else:
            reason = _judge(rules, tables, fields, target)
            if reason != _KEPT:
                _note(tables, position, end, reason)
        position = _next_line(data, end)
    return DONE, position


# --- the compiled function ------------------------------------------------------------------------------------------

Sweep = Callable[[Bytes, int, Rules, Tables], tuple[int, int]]


def _sweep(data: Bytes, position: int, rules: Rules, tables: Tables) -> tuple[int, int]:
    """The way in for Python, which takes seconds to compile for each function that has one."""
    return _sweep_lines(data, position, rules, tables)


@cache
def compiled_sweep() -> Sweep:
    """The function (text that ends with LF, position of a line, rules, tables) → (why it ends, that of the next line).

    Compiled for one kind of arguments, which `sweep_bytes` makes sure of.
    """
    arguments = sweep_bytes(b""), 0, new_rules((), (0, 0), None), new_tables()
    # Without the GIL: meanwhile threads of the blob client take in the bytes that come next.
    return ready(_sweep, *arguments, nogil=True)


def sweep_bytes(data: bytes | bytearray) -> Bytes:
    """The bytes of lines as the compiled function takes them; a copy where the LF at the end is missing."""
    view = np.frombuffer(data if not data or data[-1] == LF else bytes(data) + b"\n", dtype=np.uint8)
    view.flags.writeable = False  # another type to numba, of which one will do
    return view


def new_rules(kinds: tuple[int, ...], period: tuple[int, int], contract: Contract | None) -> Rules:
    """Rules as the compiled function takes them."""
    low, high, reject = ((), (), ()) if contract is None else (contract.low, contract.high, contract.reject)
    return Rules(
        np.array(kinds, dtype=np.int64),
        np.array(period, dtype=np.int64),
        np.array(low, dtype=np.float64),
        np.array(high, dtype=np.float64),
        np.array(reject, dtype=bool),
    )
