"""What a scoring request may hold, and how each fault in it is named."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import random_features, records
from loadcast import schema
from loadcast.errors import RequestError, TooLargeError
from loadcast.kernels.features import CLASSIC
from loadcast.serving import request_contract
from loadcast.serving.request_contract import ContractError, RequestContract

RECORD = records(random_features(1))[0]
CONTRACT = RequestContract(CLASSIC)
REQUIRED = CONTRACT.schema.names
read_request, read_records = CONTRACT.read_request, CONTRACT.read_records


def batch(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**RECORD, **change} for change in changes]


def problems_of(body: bytes | str | list[Any]) -> list[dict[str, Any]]:
    with pytest.raises(ContractError) as caught:
        read_records(body) if isinstance(body, list) else read_request(body)
    assert caught.value.problem_count >= len(caught.value.problems) > 0
    return caught.value.problems


def test_records_become_the_rows_of_the_features_table() -> None:
    table = random_features(50, seed=5)
    assert read_request(json.dumps(records(table))).equals(table.select(REQUIRED))


def test_an_empty_array_is_an_empty_table() -> None:
    assert read_request(b" [ ] ").equals(CONTRACT.schema.empty_table())


def test_the_other_columns_of_the_features_are_ignored() -> None:
    extra = {
        schema.PEAK_LOAD: None,
        schema.OBSERVED: True,
        schema.LABEL: "x",
        schema.encoded("month"): {"type": 0, "values": [[1.0]]},
        schema.scaled("peakLoadLag48"): "?",
        schema.indexed("year"): [],
    }
    assert read_records(batch(extra)).equals(read_records(batch({})))


def test_only_the_columns_that_are_read_are_needed() -> None:
    assert read_records([{name: RECORD[name] for name in REQUIRED}]).num_rows == 1


def test_integers_are_taken_for_numbers() -> None:
    assert read_records(batch({"peakLoadLag48": 7}, {"peakLoadLag48": 10**300}))["peakLoadLag48"].to_pylist() == [
        7,
        1e300,
    ]


@pytest.mark.parametrize("text", ["2016-02-29 23:00:00", "2016-02-29T23:00:00"])
def test_both_forms_of_a_time_are_read(text: str) -> None:
    assert str(read_records(batch({schema.HOUR: text}))[schema.HOUR][0]) == "2016-02-29 23:00:00"


def test_an_ipv6_server_is_written_in_its_shortest_form() -> None:
    assert read_records(batch({schema.SERVER: "2001:0DB8::0001"}))[schema.SERVER].to_pylist() == ["2001:db8::1"]


def test_subclasses_of_plain_numbers_are_taken_from_python_callers() -> None:
    assert read_records(batch({"linearTrend": np.float64(0.25)}))["linearTrend"].to_pylist() == [0.25]


NUMBER = "a finite number"
TIME = "a time as yyyy-MM-dd HH:mm:ss"
ADDRESS = "an IPv4 or IPv6 address"


@pytest.mark.parametrize(
    ("field", "value", "actual", "wanted"),
    [
        ("peakLoadLag48", "abc", "abc", NUMBER),
        ("peakLoadLag48", "12", "12", NUMBER),
        ("peakLoadLag48", None, "null", NUMBER),
        ("peakLoadLag48", True, "true", NUMBER),
        ("peakLoadLag48", [1], "an array of 1", NUMBER),
        ("peakLoadLag48", {"a": 1}, "an object", NUMBER),
        ("peakLoadLag48", 10**400, "an integer of about 401 digits", NUMBER),
        ("linearTrend", "x" * 1000, "x" * 60 + "…", NUMBER),
        ("dayofweek", 0, "0", "an integer from 1 to 7"),
        ("dayofweek", 8, "8", "an integer from 1 to 7"),
        ("hourofday", 24, "24", "an integer from 0 to 23"),
        ("hourofday", 3.0, "3.0", "an integer from 0 to 23"),
        ("hourofday", -(10**400), "an integer of about 401 digits", "an integer from 0 to 23"),
        ("Holiday", False, "false", "an integer from 0 to 1"),
        ("year", 2**40, str(2**40), "an integer from 1 to 9999"),
        ("ServerIP", "web-1", "web-1", ADDRESS),
        ("ServerIP", "10.0.0.256", "10.0.0.256", ADDRESS),
        ("ServerIP", "fe80::1%eth0", "fe80::1%eth0", ADDRESS),
        ("ServerIP", 167772161, "167772161", ADDRESS),
        ("ServerIP", None, "null", ADDRESS),
        ("SessionStartHourTime", "2016-02-30 00:00:00", "2016-02-30 00:00:00", TIME),
        ("SessionStartHourTime", "2016-06-01", "2016-06-01", TIME),
        ("SessionStartHourTime", "2016-06-01 00:00:00Z", "2016-06-01 00:00:00Z", TIME),
        ("SessionStartHourTime", "0000-01-01 00:00:00", "0000-01-01 00:00:00", TIME),
        ("SessionStartHourTime", "٢٠١٦-06-01 00:00:00", "٢٠١٦-06-01 00:00:00", TIME),
        ("SessionStartHourTime", 1464739200, "1464739200", TIME),
    ],
)
def test_a_bad_value_is_named_with_record_field_found_and_wanted(
    field: str, value: object, actual: str, wanted: str
) -> None:
    expected = [{"record": 1, "field": field, "found": actual, "wanted": wanted}]
    assert problems_of(batch({}, {field: value})) == expected
    assert problems_of(json.dumps(batch({}, {field: value}))) == expected


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_named(field: str) -> None:
    (problem,) = problems_of([RECORD, {name: value for name, value in RECORD.items() if name != field}])
    assert (problem["record"], problem["field"], problem["found"]) == (1, field, "nothing")


@pytest.mark.parametrize("value", [1, None, "x", [], 1.5])
def test_a_record_that_is_no_object_is_named(value: object) -> None:
    (problem,) = problems_of([RECORD, value])
    assert (problem["record"], problem["field"], problem["wanted"]) == (1, None, "an object of feature fields")


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    (problem,) = problems_of(batch({"hourOfDay": 1}))
    assert problem == {
        "record": 0,
        "field": "hourOfDay",
        "found": "an unknown field",
        "wanted": "a field of the contract; did you mean hourofday?",
    }


def test_an_unknown_field_far_from_all_gets_no_hint() -> None:
    (problem,) = problems_of(batch({"§" * 500: 1.0}))
    assert problem == {
        "record": 0,
        "field": "§" * 60 + "…",
        "found": "an unknown field",
        "wanted": "a field of the contract",
    }


def test_every_fault_of_the_batch_is_named_in_order() -> None:
    bad = batch({"year": "x", "Morning": 2}, {}, {"ServerIP": "?", "extra": 1})
    assert [(p["record"], p["field"]) for p in problems_of([*bad, 7])] == [
        (0, "year"),
        (0, "Morning"),
        (2, "ServerIP"),
        (2, "extra"),
        (3, None),
    ]


def test_beyond_a_hundred_faults_are_counted() -> None:
    with pytest.raises(ContractError, match=r"Found 130 fault.*first 100 are listed") as caught:
        read_records([None] * 130)
    assert (len(caught.value.problems), caught.value.problem_count) == (100, 130)


@pytest.mark.parametrize(("text", "actual"), [("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1e999", "Infinity")])
def test_numbers_that_are_not_finite_are_named(text: str, actual: str) -> None:
    body = json.dumps(batch({"linearTrend": "HERE"})).replace('"HERE"', text)
    assert problems_of(body) == [{"record": 0, "field": "linearTrend", "found": actual, "wanted": NUMBER}]


def test_what_json_does_not_have_is_a_fault_even_in_an_ignored_field() -> None:
    body = json.dumps(batch({"peakLoad": float("nan")}))
    assert problems_of(body) == [
        {"record": None, "field": None, "found": "NaN", "wanted": "JSON, which has no such value"}
    ]


def test_a_field_that_stands_twice_is_named() -> None:
    body = json.dumps(batch({}, {})).replace('"year": 2016', '"year": 2016, "year": 2017, "year": 2016', 2)
    assert [(p["record"], p["field"], p["found"]) for p in problems_of(body)] == [
        (0, "year", "the same field more than once"),
        (1, "year", "the same field more than once"),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1,]", "not JSON .* at line 1"),
        (b"[] []", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        ("[]".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf[]", "not JSON"),
        ('["\ud800"]', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"a":' * 50_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "thousands of digits"),
        (b"null", "The body is null, wanted an array"),
        (b"{}", "The body is an object, wanted an array"),
        (b'"' + b"x" * 5000 + b'"', "wanted an array"),
        (b"NaN", "wanted an array"),
    ],
)
def test_a_body_that_is_no_array_is_refused_with_a_short_reason(body: bytes | str, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        read_request(body)
    assert len(str(caught.value)) < 300


def test_a_body_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(TooLargeError, match="wanted at most"):
        read_request(b" " * (request_contract.MAX_BODY_BYTES + 1))


def test_a_batch_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(TooLargeError, match="10001 records, wanted at most 10000"):
        read_request(json.dumps([0] * 10_001))


def test_the_worst_batch_is_refused_in_bounded_time() -> None:
    names = {f"peakLoadLag{i}x": 0 for i in range(40)}
    begin = time.monotonic()
    problems = problems_of([names] * 10_000)
    assert len(problems) == 100
    assert time.monotonic() - begin < 10


def test_the_fast_way_takes_good_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(CONTRACT, "_checked", fail)
    assert read_records(batch({}, {"key": "x"})).num_rows == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
changed_records = st.dictionaries(st.sampled_from([*REQUIRED, "x"]), json_values, max_size=3).map(
    lambda changes: {**RECORD, **changes}
)


@given(json_values | st.lists(json_values | changed_records, max_size=4))
def test_any_json_is_read_or_refused_with_named_faults(value: Any) -> None:
    try:
        table = read_request(json.dumps(value))
    except RequestError as error:
        problems = error.problems
    else:
        problems = []
        assert table.num_rows == len(value)
    assert json.dumps(problems, allow_nan=False)
    assert all(len(problem["found"]) <= 61 for problem in problems)


@given(st.lists(changed_records, max_size=3))
def test_the_fast_way_and_the_slow_way_agree(batch: list[dict[str, Any]]) -> None:
    try:
        slow: pa.Table | None = CONTRACT._table(CONTRACT._checked(batch, []))
    except ContractError:
        slow = None
    try:
        fast: pa.Table | None = CONTRACT._table(batch)
    except Exception:
        fast = None
    # Plainly right is right; what is not plain (as a subclass of float) may still be right.
    assert fast is None or (slow is not None and fast.equals(slow))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert read_request(body).num_rows >= 0
