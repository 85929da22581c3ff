"""One session row at a time: the definition of what a row means.

The scan kernel sends the rows its vectorized path cannot vouch for through here, so this module alone decides them; a
property test holds the vectorized path to the same answers. The rules are those of Docs/DATA.md, section 1.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import cast

from loadcast import schema
from loadcast.addresses import canonical_address
from loadcast.schema import Reason, Repair

LAYOUT_HEAD_BYTES = 64 * 1024

_TIME = re.compile(rb"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)")
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FIELD = re.compile(rb'[ \t]*"([^"]*)"[ \t]*(?:,|\Z)|([^,]*)(?:,|\Z)')
_OPENING = re.compile(rb'[ \t]*"')
_QUOTES = re.compile(rb'"+')
_FIELD_END = re.compile(rb"[ \t]*(?:,|\Z)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANKS = b" \t"
_COMMA = ord(",")
_LONGEST_ADDRESS = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_MISSING_MARKS = frozenset(mark.encode() for mark in schema.MISSING_MARKS)


@dataclass(frozen=True)
class Layout:
    """Which field of a row holds what: `columns` are the names in file order."""

    columns: tuple[str, ...]

    @cached_property
    def server(self) -> int:
        """Position of ServerIP."""
        return self.columns.index(schema.SERVER)

    @cached_property
    def start(self) -> int:
        """Position of SessionStart."""
        return self.columns.index(schema.SESSION_START)

    @cached_property
    def measures(self) -> tuple[int, ...]:
        """Positions of the numeric columns, in the order of schema.MEASURES."""
        return tuple(self.columns.index(name) for name in schema.MEASURES)


LAYOUT_17 = Layout(schema.SESSION_COLUMNS_17)
LAYOUT_16 = Layout(schema.SESSION_COLUMNS_16)


@dataclass(frozen=True)
class Row:
    """A row that could be placed: server, epoch second of its start, numbers (None: missing) and their repairs."""

    server: str
    second: int
    values: tuple[float | None, ...]
    repairs: tuple[tuple[str, Repair], ...]


def split_lines(data: bytes) -> list[bytes]:
    """Lines of `data`, each ended by LF, CRLF or CR; without the ends."""
    lines = _LINE_END.split(data)
    return lines[:-1] if lines and not lines[-1] else lines


def is_blank(line: bytes) -> bool:
    """Whether the line holds nothing but spaces and tabs, and so is not a row."""
    return not line.strip(_BLANKS)


def split_fields(line: bytes, most: int = sys.maxsize) -> list[bytes]:
    """The first `most` fields of a line, without surrounding spaces, tabs and quotes."""
    if b'"' not in line:
        return [field.strip(_BLANKS) for field in line.split(b",", most)[:most]]
    fields: list[bytes] = []
    position = 0
    while len(fields) < most:
        match = cast(re.Match[bytes], _FIELD.match(line, position))  # any text matches
        text, end = match[1], match.end()
        if text is None:
            text, end = _with_doubled_quotes(line, position) or (match[2], end)
        fields.append(text.strip(_BLANKS))
        if end == position or line[end - 1] != _COMMA:
            break
        position = end
    return fields


def _with_doubled_quotes(line: bytes, position: int) -> tuple[bytes, int] | None:
    """The quoted field at `position` and where it ends, comma included; None if there is none.

    Quote by quote: an expression for all of it would keep a note of each pair, 2 GB for a line of 32 MB.
    """
    opening = _OPENING.match(line, position)
    if opening is None:
        return None
    for quotes in _QUOTES.finditer(line, opening.end()):
        if len(quotes[0]) % 2:  # pairs, and the one that closes
            end = _FIELD_END.match(line, quotes.end())
            return end and (line[opening.end() : quotes.end() - 1].replace(b'""', b'"'), end.end())
    return None


def detect_layout(head: bytes, complete: bool) -> Layout:
    """The 17- or 16-column layout, from a file's first LAYOUT_HEAD_BYTES; `complete` if they are all of it."""
    lines = split_lines(head)
    if not complete and not head.endswith((b"\n", b"\r")):
        lines = lines[:-1]
    most = len(LAYOUT_17.columns) + 1
    counts = Counter(len(split_fields(line, most)) for line in lines if not is_blank(line))
    return LAYOUT_16 if counts[len(LAYOUT_16.columns)] > counts[len(LAYOUT_17.columns)] else LAYOUT_17


def parse_server(text: bytes) -> str | None:
    """The address in its shortest form; None where it is no IP address."""
    # Longer texts stay out of the cache: a file of garbage would fill the memory with them.
    return _parse_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=1 << 17)
def _parse_address(text: bytes) -> str | None:
    try:
        return canonical_address(text.decode("ascii"))
    except ValueError:
        return None


def parse_time(text: bytes) -> int | None:
    """Epoch second of a wall-clock time `yyyy-MM-dd HH:mm:ss`; None where it is not one."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        return int(datetime(*map(int, match.groups()), tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]
    except ValueError:
        return None


def parse_number(text: bytes) -> float | Repair:
    """The number in a field, or why there is none."""
    if text.lower() in _MISSING_MARKS:
        return Repair.MISSING
    if _NUMBER.fullmatch(text) is None:
        return Repair.NOT_A_NUMBER
    value = float(text)
    if value < 0:
        return Repair.NEGATIVE
    return Repair.TOO_LARGE if value > schema.LARGEST_NUMBER else value


def parse_row(line: bytes, layout: Layout) -> Row | Reason:
    """Place one line that is not blank, or say why it cannot be placed."""
    # One field too many is enough: all those of a long line would take many times its memory.
    fields = split_fields(line, len(layout.columns) + 1)
    if len(fields) != len(layout.columns):
        return Reason.FIELD_COUNT
    server_text, start_text = fields[layout.server], fields[layout.start]
    if (
        server_text.decode("latin-1") in schema.HEADER_MARKS[schema.SERVER]
        or start_text.decode("latin-1") in schema.HEADER_MARKS[schema.SESSION_START]
    ):
        return Reason.HEADER
    server = parse_server(server_text)
    if server is None:
        return Reason.SERVER_IP
    second = parse_time(start_text)
    if second is None:
        return Reason.SESSION_START
    numbers = [parse_number(fields[position]) for position in layout.measures]
    return Row(
        server,
        second,
        tuple(None if isinstance(number, Repair) else number for number in numbers),
        tuple(
            (name, number) for name, number in zip(schema.MEASURES, numbers, strict=True) if isinstance(number, Repair)
        ),
    )
