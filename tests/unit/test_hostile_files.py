"""Whole files of hostile bytes: what becomes of their lines, plain and compressed, however they are cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

import scanned_files
from loadcast.kernels.rows import LAYOUT_17
from loadcast.kernels.scan import RowFilter
from loadcast.schema import Reason

ROW = b"1,2016-06-01 00:07:00,9,3,0.5,1,2,3,1.25,0,7,.5,100,5.,42,10.0.0.1,172.16.0.1"
TEXT = ROW.replace(b"1,2016", b'"a,b",2016')
BEGIN = 1_464_739_200  # 2016-06-01
KEEP = RowFilter(BEGIN, BEGIN + 86_399)
MARK = b"\xef\xbb\xbf"
FIELD_COUNT, SERVER_IP, START = Reason.FIELD_COUNT.value, Reason.SERVER_IP.value, Reason.SESSION_START.value


@dataclass(frozen=True)
class Fate:
    """What should become of a file's lines; `rejected` are offset and reason."""

    good: int = 0
    blank: int = 0
    rejected: tuple[tuple[int, str], ...] = ()


def at(*marks: tuple[int, str]) -> tuple[tuple[int, str], ...]:
    return marks


LENGTH = len(ROW)
FILES: dict[str, tuple[bytes, Fate]] = {
    "nothing": (b"", Fate()),
    "a mark only": (MARK, Fate()),
    "half a mark": (MARK[:2], Fate(rejected=at((0, FIELD_COUNT)))),
    "a mark, then rows": (MARK + (ROW + b"\n") * 3, Fate(good=3)),
    "a mark, then a bad row": (MARK + b"x\n" + ROW, Fate(good=1, rejected=at((3, FIELD_COUNT)))),
    "two marks": (MARK + MARK + ROW + b"\n" + ROW, Fate(good=2)),  # in a column that is not used
    "a mark in every row": ((MARK + ROW + b"\r\n") * 3, Fate(good=3)),
    "blank lines": (b"\n\r\n\r \t\n\t\r\r\n  ", Fate(blank=7)),
    "line feeds": (b"\n" * 70, Fate(blank=70)),
    "returns": (b"\r" * 70, Fate(blank=70)),
    "returns and line feeds": (b"\r\n" * 70, Fate(blank=70)),
    "line feeds before returns": (b"\n\r" * 70, Fate(blank=71)),
    "rows ended by CR": ((ROW + b"\r") * 5, Fate(good=5)),
    "rows ended by CRLF": ((ROW + b"\r\n") * 5, Fate(good=5)),
    "every line end in turn": (
        ROW + b"\r" + ROW + b"\n" + ROW + b"\r\n" + ROW + b"\r\r\n" + ROW,
        Fate(good=5, blank=1),
    ),
    "no end of the last line": (ROW + b"\n" + ROW, Fate(good=2)),
    "a last line cut short": (ROW + b"\n" + ROW[:-20], Fate(good=1, rejected=at((LENGTH + 1, FIELD_COUNT)))),
    "a last line cut in its address": (
        ROW + b"\n" + ROW[: -len(",172.16.0.1") - 1] + b",7",
        Fate(1, 0, at((LENGTH + 1, SERVER_IP))),
    ),
    "NULs": (b"\0" * 1000, Fate(rejected=at((0, FIELD_COUNT)))),
    "rows among NULs": (
        b"\0\n" + ROW + b"\n\0\0",
        Fate(good=1, rejected=at((0, FIELD_COUNT), (LENGTH + 3, FIELD_COUNT))),
    ),
    "NUL in a time": (ROW.replace(b"00:07", b"00\x0007"), Fate(rejected=at((0, START)))),
    "NUL in an unused column": (ROW.replace(b"1,", b"\0,", 1), Fate(good=1)),
    "UTF-16": (ROW.decode().encode("utf-16-le"), Fate(rejected=at((0, SERVER_IP)))),
    "quoted fields": (b",".join(b'"%s"' % field for field in ROW.split(b",")), Fate(good=1)),
    "commas in quotes": ((TEXT + b"\n") * 3, Fate(good=3)),
    "a quote that never closes": (b'"' + ROW + b"\n" + ROW, Fate(good=2)),  # it belongs to its own field only
    "a quote over a line's end": (TEXT.replace(b"a,b", b"a\nb"), Fate(good=1, rejected=at((0, FIELD_COUNT)))),
    "quotes only": (b'"' * 1000, Fate(rejected=at((0, FIELD_COUNT)))),
    "form feeds end no line": (ROW + b"\x0c\n" + ROW + b"\x0b\x1c\x85\n", Fate(good=2)),
    "bytes that are no text": (bytes(range(128, 256)) + b"\n" + ROW, Fate(good=1, rejected=at((0, FIELD_COUNT)))),
}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("block_bytes", [3, 100, 8 << 20])
@pytest.mark.parametrize("case", FILES)
def test_every_line_of_a_hostile_file_has_its_fate(tmp_path: Path, case: str, block_bytes: int, suffix: str) -> None:
    data, fate = FILES[case]
    file = scanned_files.write(tmp_path / f"hostile.csv{suffix}", data)
    for cuts in ((), (1, 2, 3), range(0, len(data), 37)):
        counts, rejected = scanned_files.scan(scanned_files.cut(file, cuts), KEEP, LAYOUT_17, block_bytes)
        assert (counts.good, counts.blank) == (fate.good, fate.blank)
        assert tuple((offset, reason) for offset, reason, _ in rejected) == fate.rejected
        assert counts.rows == fate.good + len(fate.rejected)


TEN_MEGABYTES = 10 << 20
LONG_LINES = {
    "letters": b"x",
    "digits": b"1",
    "commas": b",",
    "quotes": b'"',
    "NULs": b"\0",
    "quoted commas": b'",',
    "doubled quotes": b'""',
    "rows without ends": ROW + b",",
}


@pytest.mark.parametrize(
    ("name", "suffix"), [*((name, "") for name in LONG_LINES), ("commas", ".gz"), ("NULs", ".zst")]
)
def test_a_line_of_ten_megabytes_is_one_rejected_row_and_costs_the_others_nothing(
    tmp_path: Path, name: str, suffix: str
) -> None:
    long = (LONG_LINES[name] * TEN_MEGABYTES)[:TEN_MEGABYTES]
    file = scanned_files.write(tmp_path / f"long.csv{suffix}", ROW + b"\n" + long + b"\r\n" + ROW + b"\n")
    counts, rejected = scanned_files.scan(scanned_files.cut(file, (5, LENGTH + 9, 6 << 20, 9 << 20)), KEEP)
    assert (counts.rows, counts.good, counts.rejected) == (3, 2, Counter({FIELD_COUNT: 1}))
    assert [(offset, line == long) for offset, _, line in rejected] == [(LENGTH + 1, True)]
