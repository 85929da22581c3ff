"""The slow reader of session logs: one file's bytes → sessions, rejected lines and counts (Docs/DATA.md, section 1).

Written from the contract alone. It shares no code with the package it checks, and reads one line after another.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

NUMBER_COLUMNS = (
    "TotalLoad",
    "MbytesTransferred",
    "SubService_1_Load",
    "SubService_2_Load",
    "SubService_3_Load",
    "SubService_4_Load",
    "SubService_5_Load",
    "SecureBytes_Load",
)
LAYOUT_17 = (
    "TrafficType",
    "SessionStart",
    "SessionEnd",
    "ConcurrentConnectionCounts",
    "MbytesTransferred",
    "ServiceGrade",
    "HTTP1",
    "ServerType",
    "SubService_1_Load",
    "SubService_2_Load",
    "SubService_3_Load",
    "SubService_4_Load",
    "SubService_5_Load",
    "SecureBytes_Load",
    "TotalLoad",
    "ServerIP",
    "ClientIP",
)
LAYOUT_16 = (
    "SessionStart",
    "SessionEnd",
    "ConcurrentConnectionCounts",
    "MbytesTransferred",
    "ServiceGrade",
    "HTTP1",
    "ServerType",
    "SubService_1_Load",
    "SubService_2_Load",
    "SubService_3_Load",
    "SubService_4_Load",
    "SubService_5_Load",
    "SecureBytes_Load",
    "TotalLoad",
    "ClientIP",
    "ServerIP",
)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LAYOUT_WINDOW_BYTES = 64 * 1024
MISSING_WORDS = {"", "null", "n/a", "na", "nan", "none", "-"}
LINE_END = re.compile(rb"\r\n|\r|\n")
TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
IPV4 = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})")


@dataclass(frozen=True)
class Line:
    """A line without its line end, where it starts, and where its line end starts."""

    offset: int
    text: bytes
    end: int


@dataclass(frozen=True)
class Session:
    """A kept row; `numbers` follow NUMBER_COLUMNS, None where a value is missing."""

    server: str
    start: datetime
    numbers: tuple[float | None, ...]


@dataclass
class Reading:
    """What one file holds. `rejected` is a list of (byteOffset, reason, line)."""

    sessions: list[Session] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    rows: int = 0
    blank: int = 0
    outside_period: int = 0
    other_server: int = 0
    repaired: Counter[tuple[str, str]] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)


def read_rows(
    data: bytes,
    begin: datetime,
    end: datetime,
    columns: tuple[str, ...] | None = None,
    keep_servers: set[str] | None = None,
    contract: Mapping[str, Mapping] | None = None,
) -> Reading:
    """Read one (decompressed) file, line by line. `contract` is as the configuration has it."""
    layout = columns or detect_layout(data)
    reading = Reading()
    for line in lines(data):
        if line.text.strip(b" \t") == b"":
            reading.blank += 1
            continue
        reading.rows += 1
        values = split_fields(line.text)
        reason = why_rejected(values, layout)
        if reason is not None:
            reading.rejected.append((line.offset, reason, shown(line.text)))
            continue
        row = dict(zip(layout, values, strict=True))
        server, start = canonical_address(row["ServerIP"]), parse_time(row["SessionStart"])
        if not begin <= start <= end:
            reading.outside_period += 1
        elif keep_servers is not None and server not in keep_servers:
            reading.other_server += 1
        else:
            repaired: Counter[tuple[str, str]] = Counter()
            numbers = {name: read_counted(row[name], name, repaired) for name in NUMBER_COLUMNS}
            breaching = breaches(numbers, contract or {})
            reading.breaches.update(breaching)
            if any(contract[name].get("onBreach") == "reject" for name in breaching):
                reading.rejected.append((line.offset, "contract", shown(line.text)))
            else:
                reading.repaired.update(repaired)
                reading.sessions.append(Session(server, start, tuple(numbers.values())))
    return reading


def breaches(numbers: Mapping[str, float | None], contract: Mapping[str, Mapping]) -> list[str]:
    """Columns whose number is there, and is below the smallest or above the largest that the contract allows."""
    broken = []
    for name, allowed in contract.items():
        value, least, most = numbers[name], allowed.get("min"), allowed.get("max")
        if value is None:
            continue
        if (least is not None and value < least) or (most is not None and value > most):
            broken.append(name)
    return broken


def lines(data: bytes) -> Iterator[Line]:
    """Lines ended by LF, CRLF or CR; what follows the last line end is a line only if it holds a byte."""
    offset = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
    for line_end in LINE_END.finditer(data, offset):
        yield Line(offset, data[offset : line_end.start()], line_end.start())
        offset = line_end.end()
    if offset < len(data):
        yield Line(offset, data[offset:], len(data))


def detect_layout(data: bytes) -> tuple[str, ...]:
    """17 or 16 columns, whichever field count is commoner among the complete lines of the first 64 KiB."""
    seen: Counter[int] = Counter()
    for line in lines(data):
        ends_inside = line.end < LAYOUT_WINDOW_BYTES
        ends_with_the_file = line.end == len(data) <= LAYOUT_WINDOW_BYTES
        if not (ends_inside or ends_with_the_file):
            break
        seen[len(split_fields(line.text))] += 1
    return LAYOUT_16 if seen[16] > seen[17] else LAYOUT_17


def split_fields(line: bytes) -> list[str]:
    """The fields of a line, unquoted, without spaces and tabs around them. Every byte becomes one character."""
    text = line.decode("latin-1")
    fields, position = [], 0
    while True:
        value, position = _field_at(text, position)
        fields.append(value.strip(" \t"))
        if position == len(text):
            return fields
        position += 1  # the comma


def _field_at(text: str, position: int) -> tuple[str, int]:
    """The field that starts at `position`, and the position of the comma or line end after it."""
    quoted = _quoted_at(text, position)
    if quoted is not None:
        return quoted
    comma = text.find(",", position)
    comma = len(text) if comma < 0 else comma
    return text[position:comma], comma


def _quoted_at(text: str, position: int) -> tuple[str, int] | None:
    """As _field_at, if a quote opens the field there and another one closes it; else None.

    Quotes are taken one after the other: two in a row stand for one, and the first that stands alone must close.
    """
    position = _after_blanks(text, position)
    if text[position : position + 1] != '"':
        return None
    position += 1
    inside = ""
    while (quote := text.find('"', position)) >= 0:
        inside += text[position:quote]
        if text[quote + 1 : quote + 2] != '"':
            end = _after_blanks(text, quote + 1)
            return (inside, end) if text[end : end + 1] in (",", "") else None
        inside += '"'
        position = quote + 2
    return None


def _after_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t"):
        position += 1
    return position


def why_rejected(values: list[str], layout: tuple[str, ...]) -> str | None:
    """The first check that fails, or None for a row that can be placed."""
    if len(values) != len(layout):
        return "field_count"
    row = dict(zip(layout, values, strict=True))
    if row["ServerIP"] in ("IPs", "ServerIP") or row["SessionStart"] == "SessionStart":
        return "header"
    if canonical_address(row["ServerIP"]) is None:
        return "server_ip"
    if parse_time(row["SessionStart"]) is None:
        return "session_start"
    return None


def canonical_address(text: str) -> str | None:
    """The address as it is written from here on, or None if it is no IP address."""
    four = IPV4.fullmatch(text)
    if four:
        plain = all(part == str(int(part)) and int(part) <= 255 for part in four.groups())
        return text if plain else None
    if "%" in text:
        return None
    try:
        number = int(ipaddress.IPv6Address(text))
    except ValueError:
        return None
    return _shortest([(number >> shift) & 0xFFFF for shift in range(112, -1, -16)])


def _shortest(groups: list[int]) -> str:
    """RFC 5952: lower-case hexadecimal, `::` for the longest run of two or more zero groups, the first of equals."""
    length, start = 0, 0
    for first in range(8):
        run = 0
        while first + run < 8 and groups[first + run] == 0:
            run += 1
        if run > length:
            length, start = run, first
    if length < 2:
        return ":".join(f"{group:x}" for group in groups)
    head = ":".join(f"{group:x}" for group in groups[:start])
    tail = ":".join(f"{group:x}" for group in groups[start + length :])
    return f"{head}::{tail}"


def parse_time(text: str) -> datetime | None:
    """A time written exactly `yyyy-MM-dd HH:mm:ss`, or None."""
    match = TIME.fullmatch(text)
    if not match:
        return None
    try:
        return datetime(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def read_counted(text: str, column: str, repaired: Counter[tuple[str, str]]) -> float | None:
    """The number, or None and one more in `repaired` for the column and the kind."""
    value, kind = read_number(text)
    if kind is not None:
        repaired[column, kind] += 1
    return value


def read_number(text: str) -> tuple[float | None, str | None]:
    """(value, None) of a number, (None, kind) of anything else. The limits hold for the nearest double."""
    if text.lower() in MISSING_WORDS:
        return None, "missing"
    if not is_number(text):
        return None, "not_a_number"
    value = float(text)
    if value < 0:
        return None, "negative"
    return (None, "too_large") if value > 1e15 else (abs(value), None)


def is_number(text: str) -> bool:
    """Whether the text is digits with at most one point, perhaps with a sign before and an exponent after them."""
    mantissa, mark, exponent = text.replace("E", "e").partition("e")
    if mark and not _digits(_unsigned(exponent)):
        return False
    whole, point, decimals = _unsigned(mantissa).partition(".")
    if not point:
        return _digits(whole)
    return (whole == "" or _digits(whole)) and (decimals == "" or _digits(decimals)) and whole + decimals != ""


def _unsigned(text: str) -> str:
    return text[1:] if text[:1] in ("+", "-") else text


def _digits(text: str) -> bool:
    return text != "" and all(sign in "0123456789" for sign in text)


def shown(line: bytes) -> str:
    r"""The line as text of at most 1,000 characters, bytes that are not UTF-8 as `\xNN`."""
    return line.decode("utf-8", errors="backslashreplace")[:1000]
