"""The data contract in the scan kernel: what a breach is, and what becomes of its row."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from block_rows import ALL, row, scan, sums_of
from loadcast import schema
from loadcast.kernels import rows as row_kernel
from loadcast.kernels.data_contract import Contract
from loadcast.kernels.scan import Counts, Rejected
from loadcast.rules import Rules
from loadcast.schema import Reason
from loadcast.settings import parse_settings
from loadcast.storage.files import SourceFile, Split

BOUND = replace(ALL, contract=Contract.of({schema.TOTAL_LOAD: (1, 9, True), schema.MBYTES: (None, 5, False)}))


@pytest.mark.parametrize("kind", ["0", "text"], ids=["together", "alone"])
@pytest.mark.parametrize(
    ("total", "mbytes", "breaches"),
    [
        *[("1", "5", []), ("9.0", "0", []), ("-", "-", []), ("-1", "-1", []), ("9" * 16, "9" * 400, [])],
        *[("0.999", "5", [schema.TOTAL_LOAD]), ("-0", "9" * 16, [schema.TOTAL_LOAD])],
        *[("9.01", "5.01", [schema.TOTAL_LOAD, schema.MBYTES]), ("1", "1" + "0" * 15, [schema.MBYTES])],
    ],
)
def test_a_number_beyond_a_bound_is_a_breach_and_one_that_a_repair_makes_missing_is_none(
    total: str, mbytes: str, breaches: list[str], kind: str
) -> None:
    lines = [row(total=total, mbytes=mbytes, kind=kind), *[row()] * 20]
    result = scan(*lines, keep=BOUND)
    rejects = schema.TOTAL_LOAD in breaches
    assert result.counts.breaches == Counter(breaches)
    assert result.counts.rejected == Counter({Reason.CONTRACT.value: 1} if rejects else {})
    assert result.rejected == ([Rejected(0, Reason.CONTRACT, lines[0])] if rejects else [])
    assert (result.counts.rows, result.counts.good) == (21, 20 if rejects else 21)


def test_a_breach_that_is_only_counted_stays_in_the_sums_and_one_that_rejects_takes_its_row_out_of_them() -> None:
    lines = [row(total="8"), row(mbytes="7"), row(total="10", mbytes="6"), row(server="::1", total="0")]
    for ends in (lines, [line.replace(b"0,", b"text,", 1) for line in lines]):
        result = scan(*ends, keep=BOUND)
        assert sums_of(result) == {("10.0.0.1", 0): (2, [9, 9, 22, 24, 26, 28, 30, 32])}
        assert result.counts == Counts(
            rows=4,
            good=2,
            rejected=Counter(contract=2),
            breaches=Counter({schema.TOTAL_LOAD: 2, schema.MBYTES: 2}),
        )


def test_rows_out_of_the_period_of_other_servers_or_rejected_before_are_not_checked() -> None:
    keep = replace(BOUND, servers=frozenset({"10.0.0.1"}))
    rows = [row("2015-06-01 00:00:00", total="0"), row(server="::1", total="0"), row("x", total="0"), b"0"]
    for lines in (rows, [line.replace(b"0,", b"text,", 1) for line in rows]):
        counts = scan(row(), *lines, keep=keep).counts
        assert counts == Counts(5, 0, 1, 1, 1, Counter(session_start=1, field_count=1))
        assert scan(*lines, keep=BOUND).counts.breaches == Counter({schema.TOTAL_LOAD: 1})


def test_repairs_of_rows_that_break_the_contract_are_not_counted() -> None:
    lines = [row(total="0", mbytes=value, kind=kind) for value in ("-", "-1", "x") for kind in ("0", "text")]
    assert scan(*lines, keep=BOUND).counts == Counts(
        rows=6, rejected=Counter(contract=6), breaches=Counter({schema.TOTAL_LOAD: 6})
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_rows_that_break_the_contract_stand_among_other_rejected_rows_in_file_order(
    end: bytes,
) -> None:
    bad, broken, dirty = b"bad", row(total="0"), row(total="1e9")
    lines = [broken, bad, row(), dirty, broken, bad, broken]
    result = scan(*lines, end=end, keep=BOUND)
    starts = np.cumsum([0, *(len(line) + len(end) for line in lines)]).tolist()
    assert [(rejected.offset, rejected.line) for rejected in result.rejected] == [
        (start, line) for start, line in zip(starts, lines, strict=False) if line != row()
    ]
    assert [rejected.reason.value for rejected in result.rejected] == ["contract", "field_count"] + ["contract"] * 2 + [
        "field_count",
        "contract",
    ]


def test_a_row_that_breaks_the_contract_needs_no_reading_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(row_kernel, "parse_row")
    assert scan(*[row()] * 20, row(total="0"), keep=BOUND).counts.rejected == Counter(contract=1)


def test_a_block_in_which_every_row_breaks_the_contract_has_no_sums() -> None:
    result = scan(*[row(total="0")] * 1000, keep=BOUND)
    assert (len(result.buckets.codes), result.counts.good, len(result.rejected)) == (0, 0, 1000)


def test_results_kept_under_another_contract_are_not_taken() -> None:
    spark_scan = pytest.importorskip("loadcast.spark.scan")
    split = Split(SourceFile("a.csv", 9, "1"), 0, 9)
    ranges = ((1.0, None, True), (None, 1.0, True), (1.0, 2.0, True), (1.0, 2.0, False))
    contracts = [None, *(Contract.of({name: allowed}) for name in schema.MEASURES for allowed in ranges)]
    names = {spark_scan.result_name(split, None, replace(ALL, contract=contract)) for contract in contracts}
    assert len(names) == len(contracts)
    assert spark_scan.result_name(split, None, replace(BOUND)) == spark_scan.result_name(split, None, BOUND)


def test_the_configured_contract_reaches_the_scan() -> None:
    plain = {"dataFile": "a", "duration": "ONE_MONTH", "output": "b"}
    ranges = {schema.TOTAL_LOAD: {"min": 1, "max": 9, "onBreach": "reject"}, schema.MBYTES: {"max": 5}}
    assert Rules.of(parse_settings({**plain, "contract": ranges})).rows.contract == BOUND.contract
    assert Rules.of(parse_settings({**plain, "contract": {}})).rows.contract is None
