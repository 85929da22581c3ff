"""Hypothesis strategies for the bytes of session logs: anything at all, and what is nearly a log."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

import session_values

BEGIN, END = "2016-06-01 00:00:00", "2016-06-30 23:59:59"
SERVERS = ("10.0.0.1", "10.0.0.2", "2001:db8::a:1")
_ROW_17 = b"1,*,2016-06-01 00:07:00,3,0.5,1,2,3,1.25,0,7,.5,100,5.,42,*,172.16.0.1".split(b",")
_START_17, _SERVER_17, _MEASURES = 1, 15, {17: (4, 8, 9, 13, 14), 16: (3, 7, 8, 12, 13)}
_STARTS = (
    "2016-06-01 00:00:00",
    "2016-06-01 00:04:59",
    "2016-06-01 00:05:00",
    "2016-06-30 23:59:59",
    "2016-06-15 12:34:56",
    "2016-07-01 00:00:00",
    "2016-05-31 23:59:59",
    "1969-12-31 23:59:59",
    "2016-06-31 00:00:00",
    "2016-06-01 00:00:6:",
    "2016-06-01 00:00:0/",
    "SessionStart",
)
_ADDRESSES = (
    *SERVERS,
    "2001:DB8::A:1",
    "::",
    "::1",
    "1:2:3:4:5:6:7:8",
    "0:0::1",
    "::ffff:1.2.3.4",
    "1.2.3",
    "IPs",
    " IPs",
)
_PLAIN_NUMBERS = (
    "-0",
    "-",
    " -",
    "- ",
    "1-",
    "1-2",
    ".",
    "-.",
    "1.2.3",
    "/",
    ":",
    "1/2",
    " 5",
    "5 ",
    "1000000000000000",
    "1e15",
    "0" * 30 + "7",
)
#: Numbers that the scan reads together with others, those that are repaired among them.
_READ_TOGETHER = (
    *("0", "-0", "0.3", ".5", "1", "1.25", "5", "7.", "42", "042", "100", "1000000000000000", "1000000000000001"),
    *("", "-", "-1", "-.5", "9" * 400),
)


def _bytes_of(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    """Each lone surrogate stands for one byte."""
    return tuple(text.encode("utf-8", errors="surrogateescape") for text in texts)


FIELDS = _bytes_of(
    (
        *_STARTS,
        *_ADDRESSES,
        *_PLAIN_NUMBERS,
        *session_values.GOOD_NUMBERS,
        *session_values.MISSING_NUMBERS,
        *session_values.NOT_NUMBERS,
        *session_values.NEGATIVE_NUMBERS,
        *session_values.TOO_LARGE_NUMBERS,
        *session_values.BAD_SERVERS,
        *session_values.BAD_STARTS,
        *session_values.FAR_STARTS,
        '"a,b"',
        '"a""b"',
        'a"b',
        '"',
        '""',
        " ",
        "\t",
        "\udcff",
        "text",
    )
)
_SIGNS = tuple(bytes([byte]) for byte in b'0123456789,,,"" \t\r\n\x00-.+:/eEN\xff\xc3\xef\x0b\x0c\\')
_ENDS = (b"\n",) * 5 + (b"\r\n", b"\r\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n", b"\n \t\r\n")


def examples(share: float) -> int:
    """This share of the examples of the profile in use."""
    return max(5, int(settings().max_examples * share))


def _row(
    layout: int, start: bytes, server: bytes, changes: list[tuple[int, bytes]], noise: list[tuple[int, bytes]]
) -> bytes:
    fields = list(_ROW_17)
    fields[_START_17], fields[_SERVER_17] = start, server
    if layout == 16:
        fields = [*fields[1:15], fields[16], fields[15]]
    for place, field in changes:
        fields[place] = field
    line = b",".join(fields)
    for place, sign in noise:
        place %= len(line) + 1
        line = line[:place] + sign + line[place:]
    return line


def rows(layout: int) -> st.SearchStrategy[bytes]:
    """A row of 16 or 17 columns: mostly valid, with some fields and some bytes changed."""
    places = st.sampled_from(_MEASURES[layout]) | st.integers(0, layout - 1)
    changes = st.lists(st.tuples(places, st.sampled_from(FIELDS)), max_size=2)
    noise = st.none() | st.none() | st.tuples(st.integers(0, 99), st.sampled_from(_SIGNS))
    return st.builds(
        _row,
        st.just(layout),
        st.sampled_from(_bytes_of(_STARTS)),
        st.sampled_from(_bytes_of((*SERVERS, *_ADDRESSES))),
        changes,
        noise.map(lambda one: [] if one is None else [one]),
    )


def plain_logs(layout: int) -> st.SearchStrategy[bytes]:
    """Rows that are read together, most of them in the period, and now and then one of any other kind."""
    changes = st.lists(
        st.tuples(st.sampled_from(_MEASURES[layout]), st.sampled_from(_bytes_of(_READ_TOGETHER))),
        min_size=1,
        max_size=4,
    )
    plain = st.builds(
        _row,
        st.just(layout),
        st.sampled_from(_bytes_of(_STARTS[:6])),
        st.sampled_from(_bytes_of((*SERVERS[:2], "::1"))),
        changes,
        st.just([]),
    )
    others = st.lists(rows(layout), max_size=1)
    return st.builds(
        lambda before, other, after: b"\n".join([*before, *other, *after]),
        *(st.lists(plain, min_size=2, max_size=8), others, st.lists(plain, max_size=4)),
    )


def signs() -> st.SearchStrategy[bytes]:
    """Any string of the bytes that mean something in a log."""
    return st.lists(st.sampled_from(_SIGNS), max_size=40).map(b"".join)


def logs(layout: int) -> st.SearchStrategy[bytes]:
    """What is nearly a log of the layout: rows, now and then something else, and every kind of line end."""
    other = (
        st.sampled_from((b"", b" ", b"\t \t", b"," * (layout - 1), b'"', b"\xef\xbb\xbf")) | signs() | rows(33 - layout)
    )
    line = rows(layout) | rows(layout) | rows(layout) | other
    lines = st.lists(st.tuples(line, st.sampled_from(_ENDS)).map(b"".join), max_size=10).map(b"".join)
    return st.builds(bytes.__add__, lines, line | st.just(b""))


def any_bytes(layout: int) -> st.SearchStrategy[bytes]:
    """All of these."""
    return logs(layout) | logs(layout) | signs() | st.binary(max_size=120)
