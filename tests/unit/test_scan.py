"""The scan kernel by examples: sums, counts, rejected rows, and which rows are read together."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from block_rows import ALL, ScanResult, row, scan, scan_block, sums_of
from loadcast import schema
from loadcast.kernels import rows as row_kernel
from loadcast.kernels.rows import LAYOUT_16, LAYOUT_17, Layout
from loadcast.kernels.scan import Counts, Rejected, RowFilter, Scanner
from loadcast.schema import Reason


@pytest.fixture
def read_alone(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines that go through rows.parse_row."""
    lines: list[bytes] = []
    parse_row = row_kernel.parse_row

    def note(line: bytes, layout: Layout) -> object:
        lines.append(line)
        return parse_row(line, layout)

    monkeypatch.setattr(row_kernel, "parse_row", note)
    return lines


# --- sums and counts ------------------------------------------------------------------------------------------------


def test_rows_are_summed_by_server_and_five_minutes() -> None:
    lines = [
        row(total="1"),
        row(total="2.5"),
        row("2016-06-01 00:09:59"),
        row("2016-06-01 00:10:00"),
        row(server="::1"),
    ]
    result = scan(*lines)
    assert sums_of(result) == {
        ("10.0.0.1", 0): (3, [4.5, 6, 33, 36, 39, 42, 45, 48]),
        ("10.0.0.1", 1): (1, [1, 2, 11, 12, 13, 14, 15, 16]),
        ("::1", 0): (1, [1, 2, 11, 12, 13, 14, 15, 16]),
    }
    assert result.counts == Counts(rows=5, good=5)


def test_rows_read_together_and_alone_are_summed_together() -> None:
    result = scan(row(total="1"), row(total="2", kind="text"), row(total="4", kind='"a,b"'), row(total="NULL"))
    assert sums_of(result) == {("10.0.0.1", 0): (4, [7, 8, 44, 48, 52, 56, 60, 64])}
    assert result.counts == Counts(rows=4, good=4, repaired=Counter({"TotalLoad:missing": 1}))


def test_every_form_of_an_address_is_one_server() -> None:
    result = scan(*(row(server=form) for form in ("2001:db8::1", "2001:DB8::1", "2001:0db8:0:0::1", " 2001:db8::1")))
    assert sums_of(result) == {("2001:db8::1", 0): (4, [4, 8, 44, 48, 52, 56, 60, 64])}


def test_the_older_layout_is_read_by_its_own_places() -> None:
    fields = row().split(b",")
    older = b",".join([*fields[1:15], fields[16], fields[15]])
    assert sums_of(scan_block(older, LAYOUT_16, ALL)) == sums_of(scan(row()))


def test_the_period_includes_both_ends_and_is_checked_before_the_server() -> None:
    starts = ("2016-06-01 00:04:59", "2016-06-01 00:05:00", "2016-06-01 01:05:00", "2016-06-01 01:05:01")
    keep = RowFilter(ALL.begin, ALL.end, frozenset({"10.0.0.2"}))
    for kind in ("0", "text"):
        lines = [row(start, server, total="x", kind=kind) for start in starts for server in ("10.0.0.1", "10.0.0.2")]
        counts = scan(*lines, keep=keep).counts
        assert counts == Counts(
            rows=8, good=2, outside_period=4, other_server=2, repaired=Counter({"TotalLoad:not_a_number": 2})
        )


@pytest.mark.parametrize(
    ("value", "kind"),
    [("", "missing"), ("-", "missing"), ("-1", "negative"), ("1" + "0" * 16, "too_large"), ("9" * 400, "too_large")],
)
def test_repairs_of_rows_read_together_are_counted_where_the_rows_are_kept(value: str, kind: str) -> None:
    outside = row("2015-06-01 00:00:00", total=value)
    result = scan(row(total=value), row(total="3", mbytes=value), outside, row(server="10.0.0.9", total=value))
    assert result.counts.repaired == Counter({f"TotalLoad:{kind}": 2, f"MbytesTransferred:{kind}": 1})
    assert sums_of(result)["10.0.0.1", 0][1][:2] == [3, 2]
    keep = RowFilter(ALL.begin, ALL.end, frozenset({"10.0.0.9"}))
    assert scan(row(total=value), outside, keep=keep).counts.repaired == Counter()


def test_the_limit_itself_and_minus_zero_are_numbers() -> None:
    result = scan(row(total="1000000000000000"), row(total="-0", server="::1"), row(total="-0.0e1", server="::1"))
    assert sums_of(result)["10.0.0.1", 0][1][0] == 1e15
    assert sums_of(result)["::1", 0][1][0] == 0
    assert result.counts.repaired == Counter()


# --- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_offsets_of_rejected_rows_are_those_of_the_block(end: bytes) -> None:
    result = scan(b"a", row(), b"", b"b,\xff", row("2016-06-31 00:00:00"), end=end)
    step = len(end)
    third = 1 + len(row()) + 3 * step
    assert result.rejected == [
        Rejected(0, Reason.FIELD_COUNT, b"a"),
        Rejected(third, Reason.FIELD_COUNT, b"b,\xff"),
        Rejected(third + 3 + step, Reason.SESSION_START, row("2016-06-31 00:00:00")),
    ]
    assert (result.counts.rows, result.counts.blank, result.counts.good) == (4, 1, 1)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
def test_a_last_line_counts_with_and_without_an_end(end: bytes) -> None:
    assert scan_block(row() + b"\r\n" + row() + end, LAYOUT_17, ALL).counts == Counts(rows=2, good=2)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r", b"\r\n", b"\n\r", b" \t\r\n\t\n", b"\r\r\r"])
def test_a_block_without_rows_has_no_sums(data: bytes) -> None:
    result = scan_block(data, LAYOUT_17, ALL)
    assert (result.counts.rows, result.rejected, len(result.buckets.codes)) == (0, [], 0)
    assert result.counts.blank == len(row_kernel.split_lines(data))


# --- which path -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        *[b"1,2,3", b",", b"x", b"\x00", b"\xff\xfe", row() + b",", b"," * 100, b"1" * 70_000],
        *[row(kind=kind) for kind in ("web", '"a"', '"a,b"', ' "a" ', "\t", "é", "\x00", "NULL", "!#$%&'()*+;<=>?@\\")],
        *[row(start) for start in ("2016-06-31 00:00:00", "1969-12-31 23:59:59", "", " 2016-06-01 00:05:00", '"x"')],
        *[row(server=name) for name in ("::", "2001:DB8::1", "1.2.3", "01.2.3.4", "", "x" * 99, '"::1"', "IPs")],
    ],
)
def test_lines_of_every_kind_need_no_reading_alone(line: bytes, read_alone: list[bytes]) -> None:
    scan(row(), line, row(), line, end=b"\r\n")
    assert read_alone == []


@pytest.mark.parametrize(
    "line", [row(kind='"a""b"'), row(kind='"a"b'), row(kind='a"b'), row(kind='"'), row("SessionStart"), row("x" * 12)]
)
def test_lines_that_must_be_read_alone_cost_only_themselves(line: bytes, read_alone: list[bytes]) -> None:
    clean = [row(total=str(number)) for number in range(40)]
    scan(*clean, line, *clean, line, end=b"\r\n")
    assert read_alone == [line, line]


def test_a_comma_in_quotes_parts_no_fields() -> None:
    fields = row().split(b",")
    short = b",".join([*fields[:5], b'"a,b"', *fields[7:]])
    assert (short.count(b","), len(row_kernel.split_fields(short))) == (16, 16)
    counts = scan(*[row(kind="text")] * 9, short).counts
    assert (counts.good, counts.rejected) == (9, Counter(field_count=1))


def test_fully_quoted_rows_need_no_reading_alone(read_alone: list[bytes]) -> None:
    lines = [row(total=total) for total in ("1", "2.5", "NULL", "x", "-1", "")]
    quoted = [b",".join(b'"' + field + b'"' for field in line.split(b",")) for line in lines]
    actual = scan(*quoted)
    assert read_alone == []
    assert (sums_of(actual), actual.counts) == (sums_of(scan(*lines)), scan(*lines).counts)


def test_a_block_of_nothing_but_dirt_is_read() -> None:
    assert scan(b"a", b"b").counts == Counts(rows=2, rejected=Counter(field_count=2))
    assert scan(b"1", b"22").counts == Counts(rows=2, rejected=Counter(field_count=2))
    assert scan(row(total="1.2.3")).counts.good == 1


# --- attacks --------------------------------------------------------------------------------------------------------

MEGABYTE = 1 << 20
ATTACKS: dict[str, Callable[[], bytes]] = {
    "NULs": lambda: b"\x00" * 4 * MEGABYTE,
    "one line of digits": lambda: b"1" * 4 * MEGABYTE,
    "one line of commas": lambda: b"," * 4 * MEGABYTE,
    "quotes": lambda: b'"' * MEGABYTE,
    "line feeds": lambda: b"\n" * MEGABYTE,
    "returns": lambda: b"\r" * MEGABYTE,
    "lines of one comma": lambda: b",\n" * 20_000,
    "every row another server": lambda: b"\n".join(row(server=f"{i >> 8}.{i & 255}.0.1") for i in range(20_000)),
    "every row another time": lambda: b"\n".join(row(f"{1970 + i}-06-01 00:00:00") for i in range(8_000)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_block_takes_more_than_linear_time(name: str) -> None:
    data = ATTACKS[name]()
    begin = time.perf_counter()
    counts = scan_block(data, LAYOUT_17, RowFilter(0, 1 << 40)).counts
    assert time.perf_counter() - begin < 10
    assert counts.rows + counts.blank == len(row_kernel.split_lines(data))


# --- putting together -----------------------------------------------------------------------------------------------


def test_blocks_one_after_another_are_as_one_block() -> None:
    first = [row(total="1"), row(server="::1"), row(kind='a"')]
    second = [row(server="10.0.0.3"), row(total="4"), row("2016-06-01 00:59:59"), row(kind='a"'), b"bad"]
    both = scan(*first, *second)
    for blocks in ([first, second], [second, first], [first, [], second]):
        scanner = Scanner(LAYOUT_17, ALL)
        for lines in blocks:
            scanner.scan(b"\n".join(lines))
        assert sums_of(ScanResult(scanner.buckets(), [], Counts())) == sums_of(both)
        assert scanner.counts() == both.counts


def test_nothing_scanned_is_empty_sums() -> None:
    nothing = Scanner(LAYOUT_17, ALL).buckets()
    assert (nothing.servers, len(nothing.codes), nothing.sums.shape) == ((), 0, (0, len(schema.MEASURES)))


def test_counts_add_up_and_travel_as_json() -> None:
    counts = replace(scan(row(total="x"), b"bad", b"").counts, breaches=Counter(TotalLoad=3))
    total = Counts()
    for text in (json.dumps(counts.as_dict()), json.dumps(counts.as_dict())):
        total.add(Counts(**json.loads(text)))
    assert total.as_dict() == {
        "rows": 4,
        "blank": 2,
        "good": 2,
        "outside_period": 0,
        "other_server": 0,
        "rejected": {"field_count": 2},
        "repaired": {"TotalLoad:not_a_number": 2},
        "breaches": {"TotalLoad": 6},
    }


def test_sums_are_of_all_rows_whatever_their_order() -> None:
    rng = np.random.default_rng(1)
    lines = [row(f"2016-06-01 00:{rng.integers(5, 60):02d}:00", f"10.0.0.{rng.integers(9)}", "3") for _ in range(500)]
    shuffled = [lines[index] for index in rng.permutation(len(lines))]
    assert sums_of(scan(*lines)) == sums_of(scan(*shuffled))
