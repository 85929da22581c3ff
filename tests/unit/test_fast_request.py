"""The quick way of a request: what it takes, the contract takes with the same values; it leaves all else alone."""

from __future__ import annotations

import json
import random
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.errors import RequestError, TooLargeError
from loadcast.kernels.features import CLASSIC, FeatureSet
from loadcast.serving.body_weight import count_elements
from loadcast.serving.columns import Columns, columns_of, number_names, whole_names
from loadcast.serving.defaults import MAX_RECORDS
from loadcast.serving.fast_request import FastReader
from loadcast.serving.request_contract import RequestContract

CONTRACT = RequestContract(CLASSIC)
READER = FastReader(CONTRACT)
WHOLE, NUMBERS = whole_names(CLASSIC), number_names(CLASSIC)


def record(**changes: Any) -> dict[str, Any]:
    ends = {feature.name: int(feature.low) for feature in CLASSIC.features if feature.name in WHOLE}
    numbers = {name: 0.1 * at for at, name in enumerate(NUMBERS)}
    return {"ServerIP": "10.0.0.1", "SessionStartHourTime": "2016-06-05 07:00:00", **ends, **numbers, **changes}


def contract_says(body: bytes) -> Columns | None:
    try:
        return columns_of(CONTRACT.read_request(body), CLASSIC)
    except RequestError:
        return None


def assert_same(quick: Columns, slow: Columns | None) -> None:
    assert slow is not None, "the quick way took what the contract refuses"
    assert (list(quick.servers), list(quick.hours)) == (list(slow.servers), list(slow.hours))
    assert np.array_equal(quick.whole, slow.whole)
    assert quick.numbers.tobytes() == slow.numbers.tobytes() or differ_in_signs_of_zeros_alone(quick, slow)


def differ_in_signs_of_zeros_alone(quick: Columns, slow: Columns) -> bool:
    """`-0` is an integer without a sign to Python, and −0.0 to others; no threshold tells them apart."""
    differs = quick.numbers.view(np.int64) != slow.numbers.view(np.int64)
    return bool(np.all(quick.numbers[differs] == 0.0) and np.all(slow.numbers[differs] == 0.0))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([record()] * 48).encode(),
        json.dumps([record(key="a"), record(key="b")], separators=(",", ":")).encode(),
        json.dumps([record(peakLoadLag48=7)], indent=2).encode(),
        json.dumps([record(ServerIP="::FFFF:1.2.3.4", SessionStartHourTime="2016-06-05T07:00:00")]).encode(),
    ],
)
def test_plain_requests_take_the_quick_way(body: bytes) -> None:
    quick = READER.read(body)
    assert quick is not None
    assert_same(quick, contract_says(body))


@pytest.mark.parametrize(
    "changes",
    [
        {"hourofday": 3.0},
        {"hourofday": True},
        {"hourofday": 24},
        {"hourofday": 2**70},
        {"peakLoadLag48": "7"},
        {"peakLoadLag48": True},
        {"peakLoadLag48": None},
        {"peakLoadLag48": [1]},
        {"peakLoadLag48": float("nan")},
        {"peakLoadLag48": 10**400},
        {"ServerIP": 167772161},
        {"ServerIP": "10.0.0.256"},
        {"SessionStartHourTime": "2016-02-30 00:00:00"},
        {"unknown": 1},
        {"peakLoad": {"a": 1}},
        {"key": "\\"},
    ],
)
def test_all_else_is_left_to_the_contract(changes: dict[str, Any]) -> None:
    assert READER.read(json.dumps([record(), record(**changes)]).encode()) is None


@pytest.mark.parametrize("field", ["hourofday", "peakLoadLag48", "ServerIP", "SessionStartHourTime", "key"])
def test_a_field_that_stands_twice_is_left_to_the_contract(field: str) -> None:
    body = json.dumps([record(key="a"), record(key="b")])
    doubled = re.sub(rf'"{field}": ([^,}}]+)', rf'"{field}": \1, "{field}": \1', body, count=1)
    assert doubled != body
    assert READER.read(doubled.encode()) is None
    with pytest.raises(RequestError):
        CONTRACT.read_request(doubled)


def test_a_set_without_categories_takes_the_quick_way() -> None:
    numbers = tuple(feature for feature in CLASSIC.features if feature.name in NUMBERS)
    plain = FeatureSet("plain", 1, numbers, categories=())
    contract = RequestContract(plain)
    body = json.dumps([{name: value for name, value in record().items() if name not in WHOLE}] * 2).encode()
    quick = FastReader(contract).read(body)
    assert quick is not None
    assert_same(quick, columns_of(contract.read_request(body), plain))


SPELLINGS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.integers(-(2**64) - 2, 2**64 + 2).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "1e5", "1E400", "true", "null", "NaN", '"7"', "[]", "{}", "01", "1.", "0x1"]),
)
MUTATIONS = st.lists(st.tuples(st.integers(0, 10**9), st.binary(max_size=3)), max_size=2)


@given(spellings=st.lists(SPELLINGS, min_size=4, max_size=4), seed=st.integers(0, 2**32), mutations=MUTATIONS)
def test_whatever_the_quick_way_takes_the_contract_takes_alike(
    spellings: list[str], seed: int, mutations: list[tuple[int, bytes]]
) -> None:
    draw = random.Random(seed)
    rows = [record(), record(SessionStartHourTime="2016-06-05 08:00:00")]
    names = draw.sample([*WHOLE, *NUMBERS, *NUMBERS[:4], "key", "peakLoad"], 4)
    for number, name in enumerate(names):
        rows[number % 2][name] = f"HERE{number}"
    text = json.dumps(rows, separators=draw.choice([(",", ":"), (", ", ": ")]))
    for number, spelling in enumerate(spellings):
        text = text.replace(f'"HERE{number}"', spelling)
    body = text.encode()
    for at, piece in mutations:
        at %= len(body)
        body = body[:at] + piece + body[at + draw.choice([0, len(piece)]) :]
    quick = READER.read(body)
    if quick is not None:
        assert_same(quick, contract_says(body))


def test_spellings_of_doubles_are_read_to_the_last_bit() -> None:
    draw = random.Random(7)
    for _ in range(40):
        values = [struct.unpack("d", draw.randbytes(8))[0] for _ in NUMBERS]
        finite = {name: value for name, value in zip(NUMBERS, values, strict=True) if abs(value) < 1e300}
        digits = {name: f"{value:.{draw.randrange(1, 25)}e}" for name, value in finite.items()}
        text = json.dumps([record(**{name: f"HERE{name}" for name in digits})])
        for name, spelling in digits.items():
            text = text.replace(f'"HERE{name}"', spelling)
        quick = READER.read(text.encode())
        assert quick is not None
        assert quick.numbers.tobytes() == columns_of(CONTRACT.read_request(text), CLASSIC).numbers.tobytes()


ELEMENTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(ELEMENTS, min_size=1, max_size=12))
def test_records_are_counted_without_parsing(elements: list[Any]) -> None:
    assert count_elements(json.dumps(elements).encode()) == len(elements)
    assert count_elements(json.dumps(elements, ensure_ascii=False, separators=(",", ":")).encode()) == len(elements)


@pytest.mark.parametrize("element", [b"[]", b"1", b"{}", b'""', b'"\\","'])
def test_millions_of_short_elements_are_refused_before_they_are_parsed(
    element: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadcast.serving.request_contract.json.loads", None)  # which a call would not survive
    body = b"[" + b",".join([element] * 1_000_000) + b"]"
    assert READER.read(body) is None
    with pytest.raises(TooLargeError, match="1000000 records, wanted at most 10000"):
        CONTRACT.read_request(body)


@pytest.mark.parametrize("body", [b"[[" + b"1," * 300_000 + b"1]]", b'[{"key":[' + b"1," * 300_000 + b"1]}]"])
def test_a_record_of_more_values_than_any_has_is_refused_before_it_is_parsed(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadcast.serving.request_contract.json.loads", None)
    assert READER.read(body) is None
    with pytest.raises(RequestError, match=r"300000 commas, wanted at most \d+ in 1 feature record"):
        CONTRACT.read_request(body)


def test_the_largest_batch_is_taken() -> None:
    rows = [record(SessionStartHourTime="2016-06-05 08:00:00")] * MAX_RECORDS
    body = json.dumps(rows, separators=(",", ":")).encode()
    quick = READER.read(body)
    assert quick is not None
    assert len(quick.servers) == MAX_RECORDS
