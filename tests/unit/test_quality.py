"""The quality report adds up, and says whether the input is good enough."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from loadcast import schema
from loadcast.errors import InputError, QualityError
from loadcast.kernels.rows import LAYOUT_17
from loadcast.kernels.scan import Counts, RowFilter, scan_block
from loadcast.pipeline.quality import check_quality, quality_report

ONE = Counts(
    rows=10,
    blank=2,
    good=5,
    outside_period=1,
    other_server=1,
    rejected=Counter(field_count=2, server_ip=1),
    repaired=Counter({"TotalLoad:missing": 2, "TotalLoad:negative": 1, "MbytesTransferred:too_large": 4}),
)
TWO = Counts(
    rows=4,
    good=3,
    rejected=Counter(session_start=1),
    repaired=Counter({"TotalLoad:missing": 1, "TotalLoad:negative": 3}),
)


def split(file: str, start: int, counts: Counts) -> str:
    return json.dumps({"file": file, "start": start, **counts.as_dict()})


def report_of(*splits: str, **sizes: int) -> dict[str, Any]:
    return quality_report(
        splits, {file: sizes.get(file, 0) for file in sorted({json.loads(one)["file"] for one in splits})}
    )


def test_the_splits_of_all_files_are_added_up() -> None:
    report = report_of(split("b", 0, ONE), split("a", 0, TWO), split("b", 64, ONE), a=100, b=30)
    del report["files"]
    assert report == {
        "bytes": 130,
        "rows": 24,
        "blank": 4,
        "good": 13,
        "outsidePeriod": 2,
        "otherServer": 2,
        "rejected": 7,
        "rejectedFraction": 7 / 24,
        "rejectedByReason": {"field_count": 4, "server_ip": 2, "session_start": 1},
        "repaired": 18,
        "repairedByColumn": {
            "MbytesTransferred": {"too_large": 8},
            "TotalLoad": {"missing": 5, "negative": 5},
        },
    }


def test_each_file_has_its_own_report_in_order_of_name() -> None:
    report = report_of(split("b", 0, ONE), split("a", 0, TWO), split("b", 64, TWO), a=100, b=30)
    assert [(file["file"], file["bytes"], file["rows"], file["rejected"]) for file in report["files"]] == [
        ("a", 100, 4, 1),
        ("b", 30, 14, 4),
    ]
    for name in ("rows", "blank", "good", "outsidePeriod", "otherServer", "rejected", "repaired", "bytes"):
        assert sum(file[name] for file in report["files"]) == report[name]


@pytest.mark.parametrize("splits", [(), (split("a", 0, ONE),), (split("a", 0, ONE), split("a", 1, TWO))])
def test_every_row_has_one_fate(splits: tuple[str, ...]) -> None:
    for part in (report := report_of(*splits), *report["files"]):
        assert part["rows"] == part["good"] + part["outsidePeriod"] + part["otherServer"] + part["rejected"]
        assert part["rejected"] == sum(part["rejectedByReason"].values())
        assert part["repaired"] == sum(sum(kinds.values()) for kinds in part["repairedByColumn"].values())


def test_what_the_scan_counts_is_what_is_reported() -> None:
    row = "1,2016-06-01 00:00:00,1,1,x,1,1,1,1,1,1,1,1,1,-5,{},1"
    data = "\n".join([row.format("1.2.3.4"), row.format("IPs"), row.format("x"), row, "", "1,2"]).encode()
    counts = scan_block(data, LAYOUT_17, RowFilter(0, 1 << 40)).counts
    report = report_of(split("a", 0, counts))
    assert (report["rows"], report["good"], report["blank"]) == (5, 1, 1)
    assert report["rejectedByReason"] == {"field_count": 1, "header": 1, "server_ip": 2}
    assert report["repairedByColumn"] == {
        schema.MBYTES: {"not_a_number": 1},
        schema.TOTAL_LOAD: {"negative": 1},
    }


def test_the_report_is_plain_json() -> None:
    report = report_of(split("a", 0, ONE))
    assert json.loads(json.dumps(report)) == report


# --- good enough ----------------------------------------------------------------------------------------------------


def test_more_rejected_than_allowed_is_an_error_with_the_counts_and_the_worst_file() -> None:
    report = report_of(split("good.csv", 0, Counts(rows=20, good=20)), split("bad.csv", 0, ONE))
    with pytest.raises(QualityError) as caught:
        check_quality(report, 0.05)
    message = str(caught.value)
    assert message.startswith("3 of 30 rows (10.0%) could not be placed: field_count 2, server_ip 1.")
    assert "Wanted at most maxRejectedFraction 5.0%; nothing was published." in message
    assert "The file with the most (3) is bad.csv" in message


def test_just_as_many_rejected_as_allowed_are_good_enough() -> None:
    report = report_of(split("a", 0, Counts(rows=20, good=19, rejected=Counter(header=1))))
    check_quality(report, 0.05)
    with pytest.raises(QualityError):
        check_quality(report, 0.0499)
    with pytest.raises(QualityError):
        check_quality(report, 0)


def test_rows_outside_the_period_are_not_rejected_but_count_among_the_rows() -> None:
    report = report_of(split("a", 0, Counts(rows=20, good=1, outside_period=18, rejected=Counter(header=1))))
    check_quality(report, 0.05)


def test_no_row_kept_is_an_error_that_says_where_they_went() -> None:
    report = report_of(split("a", 0, Counts(rows=1500, outside_period=1400, other_server=100)))
    with pytest.raises(
        InputError,
        match=r"No row was kept of 1,500: 0 were rejected, 1,400 lie .* 100 belong to servers not in",
    ):
        check_quality(report, 1)


@pytest.mark.parametrize("splits", [(), (split("a", 0, Counts(blank=3)),)])
def test_no_rows_at_all_are_an_error_and_no_division(splits: tuple[str, ...]) -> None:
    report = report_of(*splits)
    assert report["rejectedFraction"] == 0
    with pytest.raises(InputError, match="No row was kept of 0"):
        check_quality(report, 0)


def test_nothing_but_rejected_rows_are_an_error_even_where_all_may_be() -> None:
    report = report_of(split("a", 0, Counts(rows=2, rejected=Counter(header=2))))
    with pytest.raises(InputError, match="No row was kept of 2"):
        check_quality(report, 1)
