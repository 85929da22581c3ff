"""The oracle's reader of session logs, checked by hand-computed examples: each says one rule of Docs/DATA.md."""

from __future__ import annotations

import gzip
from collections import Counter
from datetime import datetime

import pytest

import oracle
import session_values
from oracle import rows, stages
from oracle.rows import Session

BEGIN, END = datetime(2016, 6, 1), datetime(2016, 6, 30, 23, 59, 59)
A, B = "10.0.0.1", "10.0.0.2"


def raw(
    start: str = "2016-06-01 00:00:00", server: str = A, total: str = "1", mbytes: str = "2", layout: int = 17
) -> bytes:
    """One line without its end; loads 1…5 are 11…15 and the secure load is 16."""
    body = f"{start},end,3,{mbytes},gold,GET,apache,11,12,13,14,15,16,{total}"
    text = f"web,{body},{server},client" if layout == 17 else f"{body},client,{server}"
    return text.encode()


def read(data: bytes, **options) -> rows.Reading:
    return rows.read_rows(data, BEGIN, END, **options)


# --- lines and fields -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", []),
        (b"a", [(0, b"a")]),
        (b"a\n", [(0, b"a")]),
        (b"a\nb\r\nc\rd", [(0, b"a"), (2, b"b"), (5, b"c"), (7, b"d")]),
        (b"a\r\r\nb", [(0, b"a"), (2, b""), (4, b"b")]),
        (b"a\n\rb", [(0, b"a"), (2, b""), (3, b"b")]),
        (b'"a\nb"', [(0, b'"a'), (3, b'b"')]),
        (b"a\x0b\x0c\x00b", [(0, b"a\x0b\x0c\x00b")]),
        (b"\xef\xbb\xbfa\n", [(3, b"a")]),
        (b"\xef\xbb\xbf", []),
        (b"a\n\xef\xbb\xbfb", [(0, b"a"), (2, b"\xef\xbb\xbfb")]),
    ],
)
def test_lines_end_at_lf_crlf_and_cr_and_carry_their_offset(data, wanted):
    assert [(line.offset, line.text) for line in rows.lines(data)] == wanted


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"", [""]),
        (b"a,b", ["a", "b"]),
        (b"a,", ["a", ""]),
        (b",", ["", ""]),
        (b'"a,b",c', ["a,b", "c"]),
        (b'"a""b",""', ['a"b', ""]),
        (b'""""', ['"']),
        (b' a\t,\t" b "', ["a", "b"]),
        (b'" b "', ["b"]),
        (b' "a,b"\t , c', ["a,b", "c"]),
        (b'""', [""]),
        (b'"" ,""', ["", ""]),
    ],
)
def test_a_quoted_field_may_hold_commas_and_doubled_quotes(line, fields):
    assert rows.split_fields(line) == fields


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b'"a,b', ['"a', "b"]),
        (b'a,"', ["a", '"']),
        (b'a"b,c"d', ['a"b', 'c"d']),
        (b'a "b,c"', ['a "b', 'c"']),
        (b'"a" ,"b"c"d,e', ["a", '"b"c"d', "e"]),
        (b'"a""', ['"a""']),
        (b'"a"",b"', ['a",b']),
        (b'"a"",b', ['"a""', "b"]),
        (b'"a"x,"b"', ['"a"x', "b"]),
        (b'"""', ['"""']),
        (b'"a,b"c,d"', ['"a', 'b"c', 'd"']),
    ],
)
def test_a_quote_that_opens_or_closes_no_field_is_an_ordinary_character(line, fields):
    assert rows.split_fields(line) == fields


def test_blank_lines_are_counted_and_are_not_rows():
    reading = read(b"\n \t\n" + raw() + b"\r\n\r\n\r" + raw())
    assert (reading.blank, reading.rows, len(reading.sessions)) == (4, 2, 2)


# --- layout ---------------------------------------------------------------------------------------------------------


def test_the_commoner_field_count_of_a_file_is_its_layout():
    sixteen, seventeen = raw(layout=16), raw()
    assert rows.detect_layout(b"\n".join([sixteen, seventeen, sixteen])) == rows.LAYOUT_16
    assert rows.detect_layout(b"\n".join([sixteen, seventeen])) == rows.LAYOUT_17
    assert rows.detect_layout(b"") == rows.LAYOUT_17


def test_a_last_line_without_line_end_tells_the_layout_too():
    assert rows.detect_layout(raw(layout=16)) == rows.LAYOUT_16


def test_only_complete_lines_of_the_first_64_kib_tell_the_layout():
    sixteen, seventeen = raw(layout=16) + b"\n", raw() + b"\n"
    room = 64 * 1024 - len(sixteen)
    filler = b"x" * (room - 1) + b"\n"
    assert rows.detect_layout(filler + sixteen + seventeen * 9) == rows.LAYOUT_16
    assert rows.detect_layout(b"x" + filler + sixteen + seventeen * 9) == rows.LAYOUT_17


def test_configured_columns_say_where_the_fields_are():
    columns = ("ServerIP", "SessionStart", *rows.NUMBER_COLUMNS)
    reading = read(b"10.0.0.1,2016-06-01 00:00:01,1,2,3,4,5,6,7,8\n" + raw(), columns=columns)
    assert reading.sessions == [Session(A, datetime(2016, 6, 1, 0, 0, 1), (1, 2, 3, 4, 5, 6, 7, 8))]
    assert reading.rejected[0][:2] == (45, "field_count")


def test_both_layouts_give_the_same_session():
    assert read(raw()).sessions == read(raw(layout=16)).sessions
    assert read(raw()).sessions == [Session(A, BEGIN, (1, 2, 11, 12, 13, 14, 15, 16))]


# --- placing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a,b", "field_count"),
        (raw() + b",", "field_count"),
        (raw(server="IPs", start="nonsense") + b",", "field_count"),
        (raw(server="IPs", start="nonsense"), "header"),
        (raw(server='" ServerIP "'), "header"),
        (raw(server="nonsense", start="SessionStart"), "header"),
        (raw(server="ips"), "server_ip"),
        (raw(server="nonsense", start="nonsense"), "server_ip"),
        (raw(start="nonsense"), "session_start"),
        (raw(start="2016-06-31 00:00:00", total="x"), "session_start"),
        (raw(), None),
        (raw(start="\t2016-06-01 00:00:00 ", server=" 10.0.0.1\t"), None),
    ],
)
def test_the_first_check_that_fails_is_the_reason(line, reason):
    assert rows.why_rejected(rows.split_fields(line), rows.LAYOUT_17) == reason


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("256.0.0.1", None),
        ("01.2.3.4", None),
        ("1.2.3", None),
        ("::", "::"),
        ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:0:0:2:3:0:0:4", "1::2:3:0:0:4"),
        ("1:2:3:4:5:6:0:8", "1:2:3:4:5:6:0:8"),
        ("1:2:3:4:5:6::8", "1:2:3:4:5:6:0:8"),
        ("::ffff:1.2.3.4", "::ffff:102:304"),
        ("fe80::1%eth0", None),
        ("1::2::3", None),
        ("::1/64", None),
        ("\xb9.2.3.4", None),
    ],
)
def test_addresses_are_checked_and_ipv6_is_shortened(text, address):
    assert rows.canonical_address(text) == address


@pytest.mark.parametrize(
    "text", [*session_values.BAD_STARTS, "0000-01-01 00:00:00", "2016-06-01 00:00:00\n", " 2016-06-01 00:00:00"]
)
def test_a_start_that_is_not_exactly_a_possible_time_is_refused(text):
    assert rows.parse_time(text) is None


def test_a_leap_day_is_a_possible_time():
    assert rows.parse_time("2016-02-29 23:59:59") == datetime(2016, 2, 29, 23, 59, 59)


def test_the_period_includes_both_its_ends_and_is_checked_before_the_server():
    starts = ["2016-05-31 23:59:59", "2016-06-01 00:00:00", "2016-06-30 23:59:59", "2016-07-01 00:00:00"]
    data = b"\n".join(raw(start, server) for start in starts for server in (A, B))
    reading = read(data, keep_servers={B})
    assert (reading.rows, reading.outside_period, reading.other_server) == (8, 4, 2)
    assert [(kept.server, kept.start.day) for kept in reading.sessions] == [(B, 1), (B, 30)]


def test_offsets_of_rejected_lines_count_bytes_of_the_decompressed_file(tmp_path):
    path = tmp_path / "request.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfn\xc3\xa9\r\n" + raw() + b"\r\n\xff\r" + b"z" * 2000))
    actual = oracle.run(
        [path], train_begin=BEGIN, train_end=END, test_split_start=None, low=1, high=2, holidays=set()
    ).rejected
    assert list(actual["byteOffset"]) == [3, 8 + len(raw()) + 2, 8 + len(raw()) + 4]
    assert list(actual["line"]) == ["né", r"\xff", "z" * 1000]
    assert set(actual["file"]) == {str(path)}
    assert set(actual["reason"]) == {"field_count"}


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[
            ("5", 5),
            ("+5", 5),
            ("5.", 5),
            (".5", 0.5),
            ("1e2", 100),
            ("1E-2", 0.01),
            ("007", 7),
            ("-0", 0),
            ("-0.0e9", 0),
        ],
        *[("1e15", 1e15), ("1000000000000000.0", 1e15), ("0.001e18", 1e15), ("999999999999999.5", 999999999999999.5)],
        *[("-1e-400", 0), ("1000000000000000.01", 1e15)],
        *[("1e-400", 0), ("0" * 9000 + "1", 1), ("0e" + "9" * 9000, 0), ("1e-" + "9" * 9000, 0)],
    ],
)
def test_a_number_is_the_nearest_double(text, value):
    assert rows.read_number(text) == (value, None)
    assert str(rows.read_number(text)[0])[0] != "-"


@pytest.mark.parametrize("text", ["", "NULL", "null", "N/A", "n/a", "NA", "NaN", "nan", "None", "-"])
def test_marks_of_nothing_are_missing(text):
    assert rows.read_number(text) == (None, "missing")


@pytest.mark.parametrize(
    "text", ["inf", "-inf", "0x1F", "1_000", "\uff11\uff12", "+", ".", "1e", "e5", "--5", "5f", "1,5", "5\n", "−5"]
)
def test_anything_else_is_not_a_number(text):
    assert rows.read_number(text) == (None, "not_a_number")


@pytest.mark.parametrize("text", ["-1", "-.001", "-1e400", "-1e-300"])
def test_a_number_below_zero_is_negative(text):
    assert rows.read_number(text) == (None, "negative")


@pytest.mark.parametrize("text", ["1e16", "1e400", "1000000000000001", "1000000000000000.1", "1e" + "9" * 9000])
def test_a_number_above_the_limit_is_too_large(text):
    assert rows.read_number(text) == (None, "too_large")


def test_repairs_are_counted_by_column_and_kind_for_kept_rows_only():
    kept = raw(total="x", mbytes="-1")
    reading = read(
        b"\n".join([kept, kept, raw(total="x", server=B), raw("2015-06-01 00:00:00", total="x"), b"x"]),
        keep_servers={A},
    )
    assert reading.repaired == Counter({("TotalLoad", "not_a_number"): 2, ("MbytesTransferred", "negative"): 2})
    assert reading.sessions[0].numbers[:3] == (None, None, 11)


# --- the data contract ----------------------------------------------------------------------------------------------

CONTRACT = {"TotalLoad": {"min": 1, "max": 9, "onBreach": "reject"}, "MbytesTransferred": {"max": 5}}


@pytest.mark.parametrize(
    ("total", "mbytes", "actual"),
    [
        *[("1", "5", []), ("9.0", "0", []), ("-1", "-1", []), ("1e16", "1e16", []), ("x", "", [])],
        *[("0.999", "5", ["TotalLoad"]), ("9.001", "5.001", ["TotalLoad", "MbytesTransferred"])],
        *[("-0", "1", ["TotalLoad"]), ("1", "1e15", ["MbytesTransferred"])],
    ],
)
def test_a_number_beyond_a_bound_is_a_breach_and_one_that_is_not_there_is_none(total, mbytes, actual):
    reading = read(raw(total=total, mbytes=mbytes), contract=CONTRACT)
    assert list(reading.breaches) == actual
    assert [row[1] for row in reading.rejected] == (["contract"] if "TotalLoad" in actual else [])
    assert len(reading.sessions) + len(reading.rejected) == 1


def test_breaches_are_of_rows_kept_or_rejected_for_them_and_repairs_of_rows_kept():
    kept, broken = raw(mbytes="6"), raw(total="0", mbytes="6")
    missing = broken.replace(b",11,", b",x,")
    others = [raw(start, server, total="0") for start in ("2015-06-01 00:00:00", "x") for server in (A, B)]
    data = b"\n".join([kept, broken, missing, *others, raw(server=B, total="0"), b"0"])
    reading = read(data, keep_servers={A}, contract=CONTRACT)
    assert reading.breaches == {"TotalLoad": 2, "MbytesTransferred": 3}
    assert reading.rejected[:2] == [
        (len(kept) + 1, "contract", broken.decode()),
        (len(kept) + len(broken) + 2, "contract", missing.decode()),
    ]
    assert reading.repaired == {}
    assert [session.numbers[:2] for session in reading.sessions] == [(1, 6)]
    assert (reading.rows, reading.outside_period, reading.other_server) == (9, 2, 1)


def test_a_row_without_numbers_is_still_a_session():
    buckets = stages.make_buckets([Session(A, BEGIN, (None,) * 8)])
    assert buckets == {A: {BEGIN: stages.Bucket(1, (0.0,) * 8)}}
