"""Dirty lines: what real logs hold besides clean rows. Pure: a clean line in, a dirty one out.

What the pipeline must make of each kind stands in Docs/DATA.md and, for tests, in `EXPECTED`.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from itertools import chain

from loadcast.schema import MEASURES, SERVER, SESSION_COLUMNS_17, SESSION_START, Reason, Repair


class DirtyKind(enum.StrEnum):
    """What is wrong with a line."""

    EMPTY_NUMBER = "empty_number"
    TEXT_NUMBER = "text_number"
    NULL_MARK = "null_mark"
    NA_MARK = "na_mark"
    NAN_MARK = "nan_mark"
    NEGATIVE_NUMBER = "negative_number"
    HUGE_NUMBER = "huge_number"
    STRAY_BYTE_NUMBER = "stray_byte_number"
    STRAY_BYTE_CLIENT = "stray_byte_client"
    CRLF = "crlf"
    MISSING_FIELD = "missing_field"
    EXTRA_FIELD = "extra_field"
    HEADER_LINE = "header_line"
    BAD_SERVER = "bad_server"
    STRAY_BYTE_SERVER = "stray_byte_server"
    IMPOSSIBLE_DATE = "impossible_date"
    FOREIGN_DATE = "foreign_date"
    STRAY_BYTE_DATE = "stray_byte_date"
    CUT_LINE = "cut_line"


#: What becomes of a line: a Reason means the row is rejected, a Repair that one number becomes missing, None that the
#: row is used as it is.
EXPECTED: dict[DirtyKind, Reason | Repair | None] = {
    DirtyKind.EMPTY_NUMBER: Repair.MISSING,
    DirtyKind.TEXT_NUMBER: Repair.NOT_A_NUMBER,
    DirtyKind.NULL_MARK: Repair.MISSING,
    DirtyKind.NA_MARK: Repair.MISSING,
    DirtyKind.NAN_MARK: Repair.MISSING,
    DirtyKind.NEGATIVE_NUMBER: Repair.NEGATIVE,
    DirtyKind.HUGE_NUMBER: Repair.TOO_LARGE,
    DirtyKind.STRAY_BYTE_NUMBER: Repair.NOT_A_NUMBER,
    DirtyKind.STRAY_BYTE_CLIENT: None,
    DirtyKind.CRLF: None,
    DirtyKind.MISSING_FIELD: Reason.FIELD_COUNT,
    DirtyKind.EXTRA_FIELD: Reason.FIELD_COUNT,
    DirtyKind.HEADER_LINE: Reason.HEADER,
    DirtyKind.BAD_SERVER: Reason.SERVER_IP,
    DirtyKind.STRAY_BYTE_SERVER: Reason.SERVER_IP,
    DirtyKind.IMPOSSIBLE_DATE: Reason.SESSION_START,
    DirtyKind.FOREIGN_DATE: Reason.SESSION_START,
    DirtyKind.STRAY_BYTE_DATE: Reason.SESSION_START,
    DirtyKind.CUT_LINE: Reason.FIELD_COUNT,
}


def is_rejected(kind: DirtyKind) -> bool:
    """Whether a line of this kind can't be placed."""
    return isinstance(EXPECTED[kind], Reason)


def _alternating() -> tuple[DirtyKind, ...]:
    kept = [kind for kind in DirtyKind if not is_rejected(kind)]
    rejected = [kind for kind in DirtyKind if is_rejected(kind) and kind is not DirtyKind.CUT_LINE]
    rejected = (rejected * 2)[: len(kept)]
    return tuple(chain.from_iterable(zip(kept, rejected, strict=True)))


#: The n-th dirty line of a tree is of the n-th kind, repeated: every second one is rejected. Only a file's end is cut.
KIND_CYCLE = _alternating()

_START = SESSION_COLUMNS_17.index(SESSION_START)
_SERVER = SESSION_COLUMNS_17.index(SERVER)
_CLIENT = len(SESSION_COLUMNS_17) - 1
_NUMBERS = tuple(SESSION_COLUMNS_17.index(name) for name in MEASURES)
_HEADER = ",".join("IPs" if name == SERVER else name for name in SESSION_COLUMNS_17).encode()
_BLANK_LINES = (b"\n", b"\n", b"   \n", b"\t\n", b"\r\n")
_STRAY_BYTES = bytes([0, *range(0x80, 0x100)])

_NUMBER_TEXTS: dict[DirtyKind, tuple[bytes, ...]] = {
    DirtyKind.EMPTY_NUMBER: (b"", b" "),
    DirtyKind.TEXT_NUMBER: (b"unknown", b"abc", b"1.2.3", b"0x1F", b"12 MB", b"#VALUE!", b"inf", b"1_000"),
    DirtyKind.NULL_MARK: (b"NULL", b"null"),
    DirtyKind.NA_MARK: (b"N/A", b"n/a", b"NA"),
    DirtyKind.NAN_MARK: (b"NaN", b"nan"),
    DirtyKind.HUGE_NUMBER: (b"1e16", b"99999999999999999999", b"1.8e308", b"1e999"),
}
_BAD_SERVERS = (b"", b"unknown", b"256.1.1.1", b"10.0.0", b"010.1.2.3", b"localhost", b"::1%eth0")
_IMPOSSIBLE_DATES = (
    b"2016-02-30 10:00:00",
    b"2016-06-31 00:00:00",
    b"2016-13-01 12:30:00",
    b"2015-02-29 08:15:00",
    b"0000-00-00 00:00:00",
    b"2016-06-01 25:61:00",
    b"2016-06-01 24:00:00",
    b"2016-06-01 12:60:00",
)


def dirty_line(kind: DirtyKind, line: bytes, rng: random.Random) -> bytes:
    """`line`, a clean row of 17 fields without its line end, made dirty; the LF that ends it is left out as well.

    A CRLF line therefore ends with CR. The answer depends on nothing but the arguments and the state of `rng`.
    Raises ValueError if `line` does not have 17 fields.
    """
    fields = line.split(b",")
    if len(fields) != len(SESSION_COLUMNS_17):
        raise ValueError(f"dirty_line: found {len(fields)} fields, wanted a clean line of {len(SESSION_COLUMNS_17)}")
    if kind in _NUMBER_TEXTS:
        return _with(fields, rng.choice(_NUMBERS), rng.choice(_NUMBER_TEXTS[kind]))
    return _MAKERS[kind](fields, rng)


def blank_line(rng: random.Random) -> bytes:
    """A line of nothing, or of spaces and tabs, with its line end."""
    return rng.choice(_BLANK_LINES)


def _with(fields: list[bytes], index: int, value: bytes) -> bytes:
    return b",".join((*fields[:index], value, *fields[index + 1 :]))


def _stray_in(index: int) -> Callable[[list[bytes], random.Random], bytes]:
    def make(fields: list[bytes], rng: random.Random) -> bytes:
        return _with(fields, index, _with_stray_byte(fields[index], rng))

    return make


def _with_stray_byte(value: bytes, rng: random.Random) -> bytes:
    # Never at an end: there NUL or a no-break space could be taken for padding.
    position = rng.randint(1, max(1, len(value) - 1))
    return value[:position] + bytes([rng.choice(_STRAY_BYTES)]) + value[position:]


def _stray_byte_number(fields: list[bytes], rng: random.Random) -> bytes:
    index = rng.choice(_NUMBERS)
    return _with(fields, index, _with_stray_byte(fields[index], rng))


def _negative_number(fields: list[bytes], rng: random.Random) -> bytes:
    index = rng.choice(_NUMBERS)
    # Zero with a minus sign would still be zero.
    value = fields[index] if fields[index].strip(b"0.") else b"1.5"
    return _with(fields, index, b"-" + value)


def _crlf(fields: list[bytes], rng: random.Random) -> bytes:
    return b",".join(fields) + b"\r"


def _missing_field(fields: list[bytes], rng: random.Random) -> bytes:
    index = rng.randrange(len(fields))
    return b",".join(fields[:index] + fields[index + rng.randint(1, 3) :])


def _extra_field(fields: list[bytes], rng: random.Random) -> bytes:
    index = rng.randint(0, len(fields))
    return b",".join([*fields[:index], rng.choice((b"", b"0", b"extra")), *fields[index:]])


def _header_line(fields: list[bytes], rng: random.Random) -> bytes:
    return _HEADER


def _bad_server(fields: list[bytes], rng: random.Random) -> bytes:
    return _with(fields, _SERVER, rng.choice(_BAD_SERVERS))


def _impossible_date(fields: list[bytes], rng: random.Random) -> bytes:
    return _with(fields, _START, rng.choice(_IMPOSSIBLE_DATES))


def _foreign_date(fields: list[bytes], rng: random.Random) -> bytes:
    date, clock = fields[_START].split(b" ")
    year, month, day = date.split(b"-")
    formats = (
        b"%b/%b/%b %b" % (day, month, year, clock[:5]),
        b"%b-%b-%b %b" % (month, day, year, clock),
        b"%b.%b.%b %b" % (day, month, year, clock),
        b"%b/%b/%b %b" % (year, month, day, clock),
        b"%bT%bZ" % (date, clock),
        b"%b %b.000" % (date, clock),
        b"%b%b%b" % (year, month, day),
    )
    return _with(fields, _START, rng.choice(formats))


def _cut_line(fields: list[bytes], rng: random.Random) -> bytes:
    # Within the fields before the client's address, so that at least one field is lost.
    whole = b",".join(fields[:_CLIENT])
    return whole[: rng.randint(1, len(whole))]


_MAKERS: dict[DirtyKind, Callable[[list[bytes], random.Random], bytes]] = {
    DirtyKind.NEGATIVE_NUMBER: _negative_number,
    DirtyKind.STRAY_BYTE_NUMBER: _stray_byte_number,
    DirtyKind.STRAY_BYTE_CLIENT: _stray_in(_CLIENT),
    DirtyKind.CRLF: _crlf,
    DirtyKind.MISSING_FIELD: _missing_field,
    DirtyKind.EXTRA_FIELD: _extra_field,
    DirtyKind.HEADER_LINE: _header_line,
    DirtyKind.BAD_SERVER: _bad_server,
    DirtyKind.STRAY_BYTE_SERVER: _stray_in(_SERVER),
    DirtyKind.IMPOSSIBLE_DATE: _impossible_date,
    DirtyKind.FOREIGN_DATE: _foreign_date,
    DirtyKind.STRAY_BYTE_DATE: _stray_in(_START),
    DirtyKind.CUT_LINE: _cut_line,
}
