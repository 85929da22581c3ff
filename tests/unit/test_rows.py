"""What one row means: each rule of Docs/DATA.md, section 1, by hand-computed examples."""

from __future__ import annotations

import pickle
import time
import tracemalloc
from collections.abc import Callable

import pytest

import session_values
from loadcast import schema
from loadcast.addresses import canonical_address
from loadcast.kernels import rows
from loadcast.kernels.rows import LAYOUT_16, LAYOUT_17, LAYOUT_HEAD_BYTES, Layout, Row, parse_row
from loadcast.schema import Reason, Repair

A = b"10.0.0.1"
ROW = b"web,2016-06-01 00:05:00,end,3,2,gold,GET,apache,11,12,13,14,15,16,1," + A + b",client"
SECOND = 1_464_739_500  # 2016-06-01 00:05:00


def row_17(start: bytes = b"2016-06-01 00:05:00", server: bytes = A, total: bytes = b"1") -> bytes:
    return b"web," + start + b",end,3,2,gold,GET,apache,11,12,13,14,15,16," + total + b"," + server + b",client"


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")


# --- lines and fields -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nb\r\nc\rd", [b"a", b"b", b"c", b"d"]),
        (b"a\r\r\nb", [b"a", b"", b"b"]),
        (b"a\n\rb", [b"a", b"", b"b"]),
        (b"a\x0b\x0c\x1c\x85b", [b"a\x0b\x0c\x1c\x85b"]),
        (b"\n\n", [b"", b""]),
    ],
)
def test_lines_end_at_lf_crlf_and_cr(data: bytes, lines: list[bytes]) -> None:
    assert rows.split_lines(data) == lines


@pytest.mark.parametrize(("line", "blank"), [(b"", True), (b" \t", True), (b"\x00", False), (b"\x0b", False)])
def test_a_blank_line_holds_nothing_but_spaces_and_tabs(line: bytes, blank: bool) -> None:
    assert rows.is_blank(line) is blank


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"", [b""]),
        (b" a\t,b ", [b"a", b"b"]),
        (b",", [b"", b""]),
        (b"a,", [b"a", b""]),
        (b'"a,b",c', [b"a,b", b"c"]),
        (b'c,"a,b"', [b"c", b"a,b"]),
        (b'"a""b",""', [b'a"b', b""]),
        (b'""', [b""]),
        (b'""""', [b'"']),
        (b'" b ",c', [b"b", b"c"]),
        (b' "a,b"\t , c', [b"a,b", b"c"]),
        (b'"a",', [b"a", b""]),
        (b',"a"', [b"", b"a"]),
        (b'"a,"', [b"a,"]),
    ],
)
def test_a_quoted_field_may_hold_commas_and_doubled_quotes(line: bytes, fields: list[bytes]) -> None:
    assert rows.split_fields(line) == fields


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b'"a,b', [b'"a', b"b"]),
        (b'a,"', [b"a", b'"']),
        (b'a"b,c"d', [b'a"b', b'c"d']),
        (b'"a" ,"b"c"d,e', [b"a", b'"b"c"d', b"e"]),
        (b'"a""', [b'"a""']),
        (b'"a"",b', [b'"a""', b"b"]),
        (b'"a"x,"b"', [b'"a"x', b"b"]),
        (b'"a,b"c,d"', [b'"a', b'b"c', b'd"']),
        (b'x "a,b"', [b'x "a', b'b"']),
    ],
)
def test_a_quote_that_opens_or_closes_no_field_is_an_ordinary_character(line: bytes, fields: list[bytes]) -> None:
    assert rows.split_fields(line) == fields


@pytest.mark.parametrize("line", [b"a, b ,c", b"a,,", b'"a,b",c,d', b'"a""b" ,"c,"', b'"a,b', b",,,", b'"",""', b""])
def test_the_first_fields_are_those_of_the_whole_line(line: bytes) -> None:
    fields = rows.split_fields(line)
    assert [rows.split_fields(line, most) for most in range(1, 7)] == [fields[:most] for most in range(1, 7)]


# --- layout ---------------------------------------------------------------------------------------------------------


def test_the_commoner_of_the_two_field_counts_is_the_layout() -> None:
    sixteen, seventeen = b"," * 15 + b"\n", b"," * 16 + b"\n"
    assert rows.detect_layout(sixteen * 2 + seventeen + b"x\n" * 9, complete=True) == LAYOUT_16
    assert rows.detect_layout(sixteen + seventeen, complete=True) == LAYOUT_17
    assert rows.detect_layout(b"", complete=True) == LAYOUT_17


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_a_line_cut_by_the_end_of_the_head_does_not_count(end: bytes) -> None:
    head = b"," * 15 + end
    assert rows.detect_layout(head, complete=True) == LAYOUT_16
    assert rows.detect_layout(head, complete=False) == (LAYOUT_16 if end else LAYOUT_17)


def test_a_quoted_comma_is_not_counted_as_one_between_fields() -> None:
    assert rows.detect_layout(b'"a,b"' + b"," * 15, complete=True) == LAYOUT_16


def test_a_layout_travels_to_the_workers_with_its_positions() -> None:
    copy = pickle.loads(pickle.dumps(LAYOUT_16))
    assert (copy, copy.server, copy.start) == (LAYOUT_16, 15, 0)
    assert [copy.columns[index] for index in copy.measures] == list(schema.MEASURES)


# --- placing --------------------------------------------------------------------------------------------------------


def test_a_row_is_its_server_second_and_numbers_in_the_order_of_the_measures() -> None:
    assert parse_row(ROW, LAYOUT_17) == Row("10.0.0.1", SECOND, (1, 2, 11, 12, 13, 14, 15, 16), ())


def test_the_older_layout_gives_the_same_row() -> None:
    fields = ROW.split(b",")
    older = b",".join([*fields[1:15], fields[16], fields[15]])
    assert parse_row(older, LAYOUT_16) == parse_row(ROW, LAYOUT_17)


def test_named_columns_say_where_the_fields_are() -> None:
    layout = Layout((schema.SERVER, "other", schema.SESSION_START, *schema.MEASURES))
    row = parse_row(b"::1,?,2016-06-01 00:05:00,1,2,3,4,5,6,7,8", layout)
    assert row == Row("::1", SECOND, (1, 2, 3, 4, 5, 6, 7, 8), ())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a,b", Reason.FIELD_COUNT),
        (ROW + b",", Reason.FIELD_COUNT),
        (ROW.replace(b",end", b""), Reason.FIELD_COUNT),
        (ROW.replace(b"web,2016", b'"web,2016').replace(b",end", b'",end'), Reason.FIELD_COUNT),
        (row_17(b"nonsense", b"IPs") + b",", Reason.FIELD_COUNT),
        (row_17(b"nonsense", b"IPs"), Reason.HEADER),
        (row_17(server=b'" ServerIP "'), Reason.HEADER),
        (row_17(b"SessionStart", b"nonsense"), Reason.HEADER),
        (row_17(server=b"ips"), Reason.SERVER_IP),
        (row_17(b"sessionstart", b"nonsense"), Reason.SERVER_IP),
        (row_17(server=b""), Reason.SERVER_IP),
        (row_17(server=b"\xff"), Reason.SERVER_IP),
        (row_17(b"nonsense", total=b"x"), Reason.SESSION_START),
        (row_17(b""), Reason.SESSION_START),
    ],
)
def test_the_first_check_that_fails_is_the_reason(line: bytes, reason: Reason) -> None:
    assert parse_row(line, LAYOUT_17) is reason


def test_commas_in_quotes_do_not_make_fields() -> None:
    line = ROW.replace(b"gold", b'"g,o,l,d"').replace(b"client", b'","')
    assert parse_row(line, LAYOUT_17) == parse_row(ROW, LAYOUT_17)


@pytest.mark.parametrize("text", session_values.BAD_SERVERS)
def test_what_is_no_address_is_refused(text: str) -> None:
    (field,) = rows.split_fields(as_bytes(text))
    assert rows.parse_server(field) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:2:3:4:5:6::8", "1:2:3:4:5:6:0:8"),
        ("::1.2.3.4", "::102:304"),
        ("::ffff:1.2.3.4", "::ffff:102:304"),
        ("::FFFF:0:0", "::ffff:0:0"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_an_address_gets_its_shortest_form(text: str, address: str) -> None:
    assert rows.parse_server(text.encode()) == canonical_address(text) == address
    assert canonical_address(address) == address


def test_long_texts_do_not_stay_in_the_cache_of_addresses() -> None:
    before = rows._parse_address.cache_info().currsize
    assert all(rows.parse_server(b"%d" % number + b"x" * 1000) is None for number in range(100))
    assert rows._parse_address.cache_info().currsize == before


@pytest.mark.parametrize("text", session_values.BAD_STARTS)
def test_a_start_that_is_no_possible_time_is_refused(text: str) -> None:
    (field,) = rows.split_fields(as_bytes(text))
    assert rows.parse_time(field) is None


@pytest.mark.parametrize(
    ("text", "second"),
    [
        (b"1970-01-01 00:00:00", 0),
        (b"1969-12-31 23:59:59", -1),
        (b"0001-01-01 00:00:00", -62_135_596_800),
        (b"9999-12-31 23:59:59", 253_402_300_799),
        (b"2016-02-29 12:34:56", 1_456_749_296),
        (b"0000-01-01 00:00:00", None),
        (b"2016-06-01 00:00:00\n", None),
    ],
)
def test_a_time_is_seconds_since_1970(text: bytes, second: int | None) -> None:
    assert rows.parse_time(text) == second


# --- numbers --------------------------------------------------------------------------------------------------------

KINDS = {
    Repair.MISSING: session_values.MISSING_NUMBERS,
    Repair.NOT_A_NUMBER: session_values.NOT_NUMBERS,
    Repair.NEGATIVE: session_values.NEGATIVE_NUMBERS,
    Repair.TOO_LARGE: session_values.TOO_LARGE_NUMBERS,
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KINDS.items() for text in texts])
def test_every_hostile_number_is_repaired_as_its_kind(kind: Repair, text: str) -> None:
    (field,) = rows.split_fields(as_bytes(text))
    assert rows.parse_number(field) is kind


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("5", 5), ("+5", 5), ("5.", 5), (".5", 0.5), ("1e2", 100), ("1E-2", 0.01), ("007", 7), ("-0", 0)],
        *[("-1e-400", 0), ("1e-400", 0), ("1e15", 1e15), ("1000000000000000.01", 1e15), ("1e+015", 1e15)],
        *[("0" * 9000 + "1", 1), ("1e-" + "9" * 9000, 0), ("0.1", 0.1), ("4.9e-324", 5e-324)],
    ],
)
def test_a_number_is_the_nearest_double(text: str, value: float) -> None:
    assert rows.parse_number(text.encode()) == value


@pytest.mark.parametrize("text", session_values.GOOD_NUMBERS)
def test_a_number_of_unusual_form_is_a_number(text: str) -> None:
    (field,) = rows.split_fields(text.encode())
    assert isinstance(rows.parse_number(field), float)


def test_missing_values_are_none_and_say_why() -> None:
    row = parse_row(ROW.replace(b"11,12,13,14", b"-,x,-1,1e16"), LAYOUT_17)
    assert isinstance(row, Row)
    assert row.values == (1, 2, None, None, None, None, 15, 16)
    kinds = (Repair.MISSING, Repair.NOT_A_NUMBER, Repair.NEGATIVE, Repair.TOO_LARGE)
    assert row.repairs == tuple(zip(schema.SUB_LOADS[:4], kinds, strict=True))


# --- attacks --------------------------------------------------------------------------------------------------------

MEGABYTE = 1 << 20
ATTACKS: dict[str, Callable[[int], bytes]] = {
    "commas": lambda size: b"," * size,
    "quotes": lambda size: b'"' * size,
    "quotes and commas": lambda size: b'",' * (size // 2),
    "fields that open": lambda size: b'"a,' * (size // 3),
    "doubled quotes after one": lambda size: b'"a,' + b'""b,' * (size // 4),
    "spaces": lambda size: b" " * size + b"x",
    "spaces before quotes": lambda size: b' "' * (size // 2),
    "spaces after quotes": lambda size: b'"" ' * (size // 3) + b"x",
    "doubled quotes that never close": lambda size: b'"' + b'""' * (size // 2) + b"," * 16,
    "doubled quotes that close": lambda size: b'"' + b'""x' * (size // 3) + b'"' + b"," * 16,
    "fields that open among doubled quotes": lambda size: b'"""b,""b,' * (size // 9),
    "a long number": lambda size: row_17(total=b"9" * size),
    "a long number that is none": lambda size: row_17(total=b"1" * size + b"x"),
    "a long address": lambda size: row_17(server=b"1." * (size // 2)),
    "a long start": lambda size: row_17(start=b"2" * size),
}


def reading_s(line: bytes) -> float:
    """Processor time, the best of three."""

    def once() -> float:
        begin_s = time.process_time()
        parse_row(line, LAYOUT_17)
        rows.split_fields(line)
        return time.process_time() - begin_s

    return min(once() for _ in range(3))


@pytest.mark.parametrize("name", ATTACKS)
def test_no_line_takes_more_than_linear_time(name: str) -> None:
    quarter, whole = (reading_s(ATTACKS[name](size)) for size in (MEGABYTE // 16, MEGABYTE // 4))
    # A linear reader takes 4 times as long, a quadratic one 16 times.
    assert whole < 10 * max(quarter, 0.005)


@pytest.mark.parametrize(
    "line",
    [
        b'",' * (5 * MEGABYTE),
        b'"x,y",' * (2 * MEGABYTE),
        b"," * (10 * MEGABYTE),
        b'"' + b"," * (10 * MEGABYTE),
        b'"' * (10 * MEGABYTE) + b"," * 16,
        b'"' + b'""x' * (MEGABYTE // 3) + b"," * 16,
    ],
    ids=["quotes and commas", "quoted commas", "commas", "a quote, then commas", "quotes", "doubled quotes"],
)
def test_a_long_line_takes_no_more_memory_than_a_few_of_its_length(line: bytes) -> None:
    tracemalloc.start()
    try:
        parse_row(line, LAYOUT_17)
        rows.detect_layout(line, complete=True)
        peak, limit = tracemalloc.get_traced_memory()[1], 3 * len(line)
    finally:
        tracemalloc.stop()
    assert peak < limit


def test_the_head_that_tells_the_layout_is_64_kib() -> None:
    assert LAYOUT_HEAD_BYTES == 65_536
