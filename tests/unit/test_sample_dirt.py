"""Dirty lines: each kind becomes what Docs/DATA.md says, checked without loadcast's own kernels."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pandas as pd
import pytest

from loadcast.sample.dirt import EXPECTED, KIND_CYCLE, DirtyKind, blank_line, dirty_line, is_rejected
from loadcast.sample.spec import SampleSpec
from loadcast.sample.write import write_sample
from loadcast.schema import MEASURES, SESSION_COLUMNS_17, Reason, Repair

CLEAN_LINE = (
    b"1,2016-06-01 00:00:15,2016-06-01 00:12:15,8,2.23,3,0,4,6.73,7.84,4.89,0.0,2.23,0.33,25.004,"
    b"204.128.75.62,88.168.146.8"
)
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lines_of(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line.strip(b" \t\r")]


@pytest.mark.parametrize("kind", DirtyKind)
@pytest.mark.parametrize("seed", range(25))
def test_each_dirty_kind_does_what_is_expected_of_it(kind: DirtyKind, seed: int) -> None:
    line = dirty_line(kind, CLEAN_LINE, random.Random(seed))
    assert b"\n" not in line
    assert line != CLEAN_LINE
    assert outcome(line) == EXPECTED[kind]


def outcome(line: bytes) -> Reason | Repair | None:
    """What Docs/DATA.md says becomes of a line, written apart from the kernels."""
    fields = [field.strip(b" \t") for field in line.removesuffix(b"\r").split(b",")]
    if len(fields) != 17:
        return Reason.FIELD_COUNT
    row = dict(zip(SESSION_COLUMNS_17, fields, strict=True))
    if row["ServerIP"] == b"IPs":
        return Reason.HEADER
    if not re.fullmatch(rb"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}", row["ServerIP"]):
        return Reason.SERVER_IP
    start = row["SessionStart"].decode("latin-1")
    if not TIME.fullmatch(start) or pd.isna(pd.to_datetime(start, format="%Y-%m-%d %H:%M:%S", errors="coerce")):
        return Reason.SESSION_START
    return next((fault for name in MEASURES if (fault := number_fault(row[name]))), None)


def number_fault(value: bytes) -> Repair | None:
    if value.lower() in (b"", b"null", b"n/a", b"na", b"nan", b"none", b"-"):
        return Repair.MISSING
    if not re.fullmatch(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", value):
        return Repair.NOT_A_NUMBER
    if float(value) < 0:
        return Repair.NEGATIVE
    return Repair.TOO_LARGE if float(value) > 1e15 else None


def test_dirty_lines_depend_on_nothing_but_the_random_state() -> None:
    for kind in DirtyKind:
        assert dirty_line(kind, CLEAN_LINE, random.Random(5)) == dirty_line(kind, CLEAN_LINE, random.Random(5))


def test_dirty_line_refuses_a_line_that_is_not_clean() -> None:
    with pytest.raises(ValueError, match="found 2 fields"):
        dirty_line(DirtyKind.CRLF, b"a,b", random.Random(0))


def test_a_negative_zero_is_never_made() -> None:
    line = b",".join([*CLEAN_LINE.split(b",")[:4], b"0.0", *CLEAN_LINE.split(b",")[5:]])
    made = {dirty_line(DirtyKind.NEGATIVE_NUMBER, line, random.Random(seed)) for seed in range(100)}
    assert all(outcome(item) is Repair.NEGATIVE for item in made)


def test_blank_lines_hold_nothing_but_blanks() -> None:
    assert {blank_line(random.Random(seed)).strip(b" \t\r\n") for seed in range(50)} == {b""}


def test_half_of_the_kind_cycle_is_rejected_and_no_kind_is_left_out() -> None:
    assert sum(map(is_rejected, KIND_CYCLE)) * 2 == len(KIND_CYCLE)
    assert set(KIND_CYCLE) | {DirtyKind.CUT_LINE} == set(DirtyKind)


def test_all_kinds_of_dirt_are_in_the_files_as_counted(tmp_path: Path) -> None:
    summary = write_sample(SampleSpec(servers=4, rows=20_000), tmp_path)
    lines = [line for data in tree(tmp_path).values() for line in lines_of(data)]
    assert set(summary.dirty_by_kind) == set(DirtyKind)
    actual = [outcome(line) for line in lines]
    for reason in (*Reason, *Repair):
        assert actual.count(reason) == sum(n for kind, n in summary.dirty_by_kind.items() if EXPECTED[kind] is reason)
    assert sum(line.endswith(b"\r") for line in lines) == summary.dirty_by_kind[DirtyKind.CRLF]
    assert summary.rejected == sum(isinstance(item, Reason) for item in actual)
    assert 0.4 < summary.rejected / summary.dirty < 0.6


def test_some_files_end_in_a_cut_line(tmp_path: Path) -> None:
    summary = write_sample(SampleSpec(servers=4, rows=20_000), tmp_path)
    cut = [data for data in tree(tmp_path).values() if not data.endswith(b"\n")]
    assert len(cut) == summary.dirty_by_kind[DirtyKind.CUT_LINE]
    assert 0 < len(cut) < summary.files
