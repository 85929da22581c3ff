"""The quality report adds up, and says whether the input is good enough."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from block_rows import scan_block
from loadcast import schema
from loadcast.artefacts.quality import Quality
from loadcast.errors import InputError, QualityError
from loadcast.kernels.coverage import Coverage
from loadcast.kernels.rows import LAYOUT_17
from loadcast.kernels.scan import Counts, RowFilter
from loadcast.pipeline.quality import LISTED_SERVERS, check_quality, quality_report

BEGIN = (datetime(2016, 6, 1) - datetime(1970, 1, 1)) // timedelta(hours=1)
ONE = Counts(
    rows=10,
    blank=2,
    good=5,
    outside_period=1,
    other_server=1,
    rejected=Counter(field_count=2, server_ip=1),
    repaired=Counter({"TotalLoad:missing": 2, "TotalLoad:negative": 1, "MbytesTransferred:too_large": 4}),
    breaches=Counter(TotalLoad=2, MbytesTransferred=1),
)
TWO = Counts(
    rows=4,
    good=3,
    rejected=Counter(session_start=1),
    repaired=Counter({"TotalLoad:missing": 1, "TotalLoad:negative": 3}),
)


def split(file: str, start: int, counts: Counts) -> str:
    return json.dumps({"file": file, "start": start, **counts.as_dict()})


def coverage(*servers: tuple[str, int, int, int]) -> Coverage:
    """Servers as (name, first hour, last hour, observed hours), the hours counted from BEGIN."""
    numbers = np.array([row[1:] for row in servers], dtype=np.int64).reshape(-1, 3)
    return Coverage(tuple(row[0] for row in servers), numbers[:, 0] + BEGIN, numbers[:, 1] + BEGIN, numbers[:, 2])


def report_of(*splits: str, seen: Coverage | None = None, **sizes: int) -> dict[str, Any]:
    files = sorted({json.loads(entry)["file"] for entry in splits})
    return made(splits, seen or coverage(), {file: sizes.get(file, 0) for file in files})


def made(splits: tuple[str, ...], seen: Coverage, sizes: dict[str, int]) -> dict[str, Any]:
    return quality_report(splits, seen, sizes, {}, False).document()


def servers_of(*servers: tuple[str, int, int, int]) -> dict[str, Any]:
    return made((), coverage(*servers), {})["servers"]


def time(hour: int) -> str:
    return (datetime(2016, 6, 1) + timedelta(hours=hour)).strftime(schema.TIME_FORMAT)


def test_the_splits_of_all_files_are_added_up() -> None:
    seen = coverage(("1.2.3.4", 0, 30, 31))
    report = report_of(split("b", 0, ONE), split("a", 0, TWO), split("b", 64, ONE), seen=seen, a=100, b=30)
    del report["files"], report["servers"]
    assert report == {
        "formatVersion": Quality.VERSION,
        "filterIp": False,
        "contract": {},
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
        "breaches": 6,
        "breachesByColumn": {"MbytesTransferred": 2, "TotalLoad": 4},
        "firstTime": "2016-06-01 00:00:00",
        "lastTime": "2016-06-02 06:00:00",
        "filesThatStandOut": [],
    }


def test_each_file_has_its_own_report_in_order_of_name() -> None:
    report = report_of(split("b", 0, ONE), split("a", 0, TWO), split("b", 64, TWO), a=100, b=30)
    assert [(file["file"], file["bytes"], file["rows"], file["rejected"]) for file in report["files"]] == [
        ("a", 100, 4, 1),
        ("b", 30, 14, 4),
    ]
    for name in ("rows", "blank", "good", "outsidePeriod", "otherServer", "rejected", "repaired", "breaches", "bytes"):
        assert sum(file[name] for file in report["files"]) == report[name]


@pytest.mark.parametrize("splits", [(), (split("a", 0, ONE),), (split("a", 0, ONE), split("a", 1, TWO))])
def test_every_row_has_one_fate(splits: tuple[str, ...]) -> None:
    for part in (report := report_of(*splits), *report["files"]):
        assert part["rows"] == part["good"] + part["outsidePeriod"] + part["otherServer"] + part["rejected"]
        assert part["rejected"] == sum(part["rejectedByReason"].values())
        assert part["repaired"] == sum(sum(kinds.values()) for kinds in part["repairedByColumn"].values())
        assert part["breaches"] == sum(part["breachesByColumn"].values())


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
    report = report_of(split("a", 0, ONE), seen=coverage(("1.2.3.4", 0, 1, 2)))
    assert json.loads(json.dumps(report)) == report


# --- files that stand out -------------------------------------------------------------------------------------------


def file(name: str, rejected: int, rows: int) -> str:
    return split(name, 0, Counts(rows=rows, good=rows - rejected, rejected=Counter(header=rejected)))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        # Ten times the rate of the others, to the row; other files than itself.
        ([file("a", 100, 1000), file("b", 10, 1000)], ["a"]),
        ([file("a", 99, 1000), file("b", 10, 1000)], []),
        ([file("a", 100, 1000), file("b", 10, 1000), file("c", 1, 1)], []),
        # Ten rejected rows at least.
        ([file("a", 10, 10), file("b", 5, 10_000)], ["a"]),
        ([file("a", 9, 9), file("b", 5, 10_000)], []),
        # Where the others have none, as if they had one.
        ([file("a", 10, 1000), file("b", 0, 1000)], ["a"]),
        ([file("a", 10, 1001), file("b", 0, 1000)], []),
        ([file("a", 10, 10), file("b", 0, 9)], []),
        ([file("a", 10, 10), file("b", 0, 10)], ["a"]),
        # Nothing to compare with.
        ([file("a", 1000, 1000)], []),
        ([file("a", 1000, 1000), file("b", 0, 0)], []),
        ([], []),
        # Several, whose names are in order.
        ([file("z", 500, 1000), file("b", 9, 100_000), file("a", 500, 1000)], ["a", "z"]),
        # One file with a good and a bad piece is one file.
        ([file("a", 0, 10_000), split("a", 9, Counts(rows=20, rejected=Counter(header=20))), file("b", 2, 10_000)], []),
    ],
)
def test_a_file_stands_out_by_ten_times_the_reject_rate_of_all_others(files: list[str], wanted: list[str]) -> None:
    report = report_of(*files)
    assert report["filesThatStandOut"] == wanted
    assert [entry["file"] for entry in report["files"] if entry["standsOut"]] == wanted


# --- servers --------------------------------------------------------------------------------------------------------


def test_the_period_is_that_of_the_kept_sessions() -> None:
    report = report_of(seen=coverage(("b", 3, 9, 2), ("a", -30, -1, 2), ("c", 5, 40, 7)))
    assert (report["firstTime"], report["lastTime"]) == (time(-30), time(40))


def test_hours_without_data_lie_between_a_server_s_first_and_last() -> None:
    servers = servers_of(("b", 0, 9, 10), ("c", 0, 9, 4), ("a", 0, 0, 1), ("d", 0, 9, 4))
    assert (servers["number"], servers["hoursWithoutData"]) == (4, 12)
    assert [(entry["server"], entry["hoursObserved"], entry["hoursWithoutData"]) for entry in servers["listed"]] == [
        ("c", 4, 6),
        ("d", 4, 6),
        ("a", 1, 0),
        ("b", 10, 0),
    ]
    assert servers["listed"][0]["firstTime"] == time(0)
    assert servers["listed"][0]["lastTime"] == time(9)


def test_servers_appear_and_disappear_a_day_apart_in_order_of_time() -> None:
    servers = servers_of(
        ("always", 0, 100, 2),
        ("late", 24, 100, 2),
        ("almost late", 23, 100, 2),
        ("later", 90, 100, 2),
        ("gone", 0, 76, 2),
        ("almost gone", 0, 77, 2),
        ("a guest", 24, 24, 1),
    )
    assert servers["appeared"] == ["a guest", "late", "later"]
    assert servers["disappeared"] == ["a guest", "gone"]
    assert (servers["appearedNumber"], servers["disappearedNumber"]) == (3, 2)


def test_of_many_servers_lists_are_cut_and_numbers_are_not() -> None:
    number = 100_000
    names = tuple(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(number))
    first = np.where(np.arange(number) % 2, 48, 0)
    last = first + 60 + np.arange(number) % 7
    servers = made((), Coverage(names, first, last, np.full(number, 61)), {})["servers"]
    assert (servers["number"], servers["appearedNumber"], servers["disappearedNumber"]) == (number, 50_000, 50_000)
    assert [len(servers[name]) for name in ("appeared", "disappeared", "listed")] == [LISTED_SERVERS] * 3
    assert {entry["hoursWithoutData"] for entry in servers["listed"]} == {6}
    assert servers["hoursWithoutData"] == sum(n % 7 for n in range(number))


def test_without_a_kept_session_there_is_no_time_and_no_server() -> None:
    report = report_of(split("a", 0, ONE))
    assert (report["firstTime"], report["lastTime"]) == (None, None)
    assert report["servers"] == {
        **dict.fromkeys(("number", "hoursWithoutData", "appearedNumber", "disappearedNumber"), 0),
        **{name: [] for name in ("appeared", "disappeared", "listed")},
    }


# --- good enough ----------------------------------------------------------------------------------------------------


def test_more_rejected_than_allowed_is_an_error_with_the_counts_and_the_worst_file() -> None:
    report = report_of(split("good.csv", 0, Counts(rows=20, good=20)), split("bad.csv", 0, ONE))
    with pytest.raises(QualityError) as caught:
        check_quality(Quality.of(report), 0.05)
    message = str(caught.value)
    assert message.startswith("3 of 30 rows (10.0%) were rejected: field_count 2, server_ip 1.")
    assert "Wanted at most maxRejectedFraction 5.0%; nothing was published." in message
    assert "The file with the most (3) is bad.csv" in message


def test_just_as_many_rejected_as_allowed_are_good_enough() -> None:
    report = report_of(split("a", 0, Counts(rows=20, good=19, rejected=Counter(header=1))))
    check_quality(Quality.of(report), 0.05)
    with pytest.raises(QualityError):
        check_quality(Quality.of(report), 0.0499)
    with pytest.raises(QualityError):
        check_quality(Quality.of(report), 0)


def test_rows_outside_the_period_are_not_rejected_but_count_among_the_rows() -> None:
    report = report_of(split("a", 0, Counts(rows=20, good=1, outside_period=18, rejected=Counter(header=1))))
    check_quality(Quality.of(report), 0.05)


def test_no_row_kept_is_an_error_that_says_where_they_went() -> None:
    report = report_of(split("a", 0, Counts(rows=1500, outside_period=1400, other_server=100)))
    with pytest.raises(
        InputError,
        match=r"No row was kept of 1,500: 0 were rejected, 1,400 lie .* 100 belong to servers not in",
    ):
        check_quality(Quality.of(report), 1)


@pytest.mark.parametrize("splits", [(), (split("a", 0, Counts(blank=3)),)])
def test_no_rows_at_all_are_an_error_and_no_division(splits: tuple[str, ...]) -> None:
    report = report_of(*splits)
    assert report["rejectedFraction"] == 0
    with pytest.raises(InputError, match="No row was kept of 0"):
        check_quality(Quality.of(report), 0)


def test_nothing_but_rejected_rows_are_an_error_even_where_all_may_be() -> None:
    report = report_of(split("a", 0, Counts(rows=2, rejected=Counter(header=2))))
    with pytest.raises(InputError, match="No row was kept of 2"):
        check_quality(Quality.of(report), 1)
