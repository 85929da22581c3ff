"""Sums per server and five minutes: merging, packing, rounding."""

from __future__ import annotations

import math
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grids import sum_rows
from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels import buckets
from loadcast.kernels.buckets import MAX_RECORDS, Buckets, merge, pack, round_sums, unpack
from oracle.stages import rounded_sum

WIDTH = len(schema.MEASURES)
YEAR_1, YEAR_9999 = -207_118_656, 844_674_335
Entries = dict[tuple[str, int], tuple[int, tuple[float, ...]]]


def ints(*values: int) -> buckets.Int64s:
    return np.array(values, dtype=np.int64)


def random_sums(seed: int, servers: int, size: int, span: int) -> Buckets:
    """Rows of `servers` servers and `span` buckets, summed; values are decimals."""
    rng = np.random.default_rng(seed)
    names = tuple(f"10.0.{number >> 8}.{number & 255}" for number in range(servers))
    values = rng.integers(0, 10**6, (size, WIDTH)) / 1000
    return sum_rows(names, rng.integers(0, servers, size), rng.integers(0, span, size) + 4_000_000, values)


def entries(sums: Buckets, rounded: bool = True) -> Entries:
    values = round_sums(sums.sums) if rounded else sums.sums
    rows = zip(sums.codes.tolist(), sums.buckets.tolist(), sums.counts.tolist(), values.tolist(), strict=True)
    return {(sums.servers[code], bucket): (count, tuple(value)) for code, bucket, count, value in rows}


# --- merging --------------------------------------------------------------------------------------------------------


def test_entries_of_the_same_server_and_bucket_are_added_up() -> None:
    values = np.arange(4 * WIDTH, dtype=np.float64).reshape(4, WIDTH)
    sums = merge(("a", "b"), ints(1, 0, 1, 1), ints(7, 7, 8, 7), ints(1, 2, 3, 4), values)
    assert entries(sums) == {
        ("a", 7): (2, tuple(values[1])),
        ("b", 7): (5, tuple(values[0] + values[3])),
        ("b", 8): (3, tuple(values[2])),
    }


@pytest.mark.parametrize("seed", range(3))
def test_few_and_many_entries_per_place_are_merged_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    rows = (("a", "b", "c"), rng.integers(0, 3, 3000), rng.integers(0, 500, 3000) - 250)
    values = rng.integers(0, 10**6, (3000, WIDTH)) / 1000
    dense = sum_rows(*rows, values)
    with monkeypatch.context() as patch:
        patch.setattr(buckets, "_merge_dense", lambda *_: pytest.fail("a span of 2^30 buckets has no dense table"))
        # One entry far away leaves no way but sorting.
        far = [np.append(column, extra) for column, extra in zip(rows[1:], (0, 1 << 30), strict=True)]
        sparse = sum_rows(rows[0], *far, np.vstack([values, np.ones((1, WIDTH))]))
    others = entries(sparse)
    assert others.pop(("a", 1 << 30)) == (1, (1.0,) * WIDTH)
    assert entries(dense) == others


@pytest.mark.parametrize("span", [1, 40, 100_000])
def test_entries_come_out_sorted_and_once(span: int) -> None:
    sums = random_sums(1, servers=5, size=2000, span=span)
    keys = list(zip(sums.codes.tolist(), sums.buckets.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert sums.counts.sum() == 2000


def test_nothing_merges_to_nothing() -> None:
    sums = sum_rows(("a",), ints(), ints(), np.zeros((0, WIDTH)))
    assert (entries(sums), sums.sums.shape, sums.servers) == ({}, (0, WIDTH), ("a",))


def test_the_ends_of_time_have_their_buckets() -> None:
    sums = sum_rows(("a", "b"), ints(1, 0, 1), ints(YEAR_9999, YEAR_1, YEAR_1), np.ones((3, WIDTH)))
    assert list(entries(unpack(*pack(sums)))) == [("a", YEAR_1), ("b", YEAR_1), ("b", YEAR_9999)]


# --- packing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("servers", "size", "span"), [(1, 1, 1), (7, 3000, 50), (40, 500, 10_000), (300, 200, 3)])
def test_what_is_packed_comes_out_again(servers: int, size: int, span: int) -> None:
    sums = random_sums(2, servers, size, span)
    names, payloads = pack(sums)
    assert len(set(names.to_pylist())) == len(names) == len(np.unique(sums.codes))
    assert entries(unpack(names, payloads)) == entries(sums)


@pytest.mark.parametrize("records", [MAX_RECORDS - 1, MAX_RECORDS, MAX_RECORDS + 1, 2 * MAX_RECORDS, 40_000])
def test_a_server_with_many_buckets_is_packed_in_pieces(records: int) -> None:
    codes = np.repeat(ints(0, 1, 2), (5, records, 7))
    row_buckets = np.concatenate([np.arange(5), np.arange(records), np.arange(7)])
    sums = sum_rows(("x", "long", "y"), codes, row_buckets, np.ones((len(codes), WIDTH)))
    names, payloads = pack(sums)
    pieces = -(-records // MAX_RECORDS)
    assert names.to_pylist() == ["x", *["long"] * pieces, "y"]
    assert max(len(value) for value in payloads.to_pylist()) <= MAX_RECORDS * buckets.RECORD.itemsize
    assert entries(unpack(names, payloads)) == entries(sums)


def test_a_record_is_72_bytes_little_endian() -> None:
    sums = sum_rows(("a",), ints(0), ints(-2), np.array([[1.0, *[0.0] * (WIDTH - 1)]]))
    (payload,) = pack(sums)[1].to_pylist()
    assert payload == b"\xfe\xff\xff\xff\x01\x00\x00\x00" + b"\x00" * 6 + b"\xf0\x3f" + b"\x00" * 56


def test_values_of_many_splits_are_added_up_in_any_order_and_any_array() -> None:
    parts = [pack(random_sums(seed, 6, 400, 60)) for seed in range(5)]
    names = pa.concat_arrays([part[0] for part in parts])
    payloads = pa.concat_arrays([part[1] for part in parts])
    wanted = entries(unpack(names, payloads))
    shuffled = pa.array(random.Random(1).sample(range(len(names)), len(names)))
    assert entries(unpack(names.take(shuffled), payloads.take(shuffled))) == wanted
    assert entries(unpack(names, payloads.cast(pa.large_binary()))) == wanted
    padded = [pa.concat_arrays([whole.slice(0, 2), whole, whole.slice(1)]) for whole in (names, payloads)]
    assert entries(unpack(*(array.slice(2, len(names)) for array in padded))) == wanted


def test_more_than_an_array_can_hold_is_an_error_and_not_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MAX_PACKED_BYTES", 71)
    with pytest.raises(InputError, match="Cut it into smaller files"):
        pack(random_sums(1, 1, 1, 1))


def test_nothing_packed_is_nothing_unpacked() -> None:
    sums = unpack(*pack(sum_rows((), ints(), ints(), np.zeros((0, WIDTH)))))
    assert (entries(sums), sums.sums.shape) == ({}, (0, WIDTH))


# --- rounding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        *[(0.0, 0.0), (-0.0, 0.0), (0.1 + 0.2, 0.3), (0.1 + 0.7, 0.8), (123456789.123456, 123456789.12346)],
        *[(1e15, 1e15), (123456789012345678.0, 123456789012350000.0), (99999999999999.99, 1e14), (1e22, 1e22)],
        *[(999.999999999999, 1000.0), (1e-9, 1e-9), (1.23456789012344e-5, 1.2345678901234e-5)],
    ],
)  # fmt: skip
def test_a_sum_keeps_14_significant_digits(value: float, rounded: float) -> None:
    (actual,) = round_sums(np.array([value])).tolist()
    assert actual == rounded
    assert math.copysign(1.0, actual) == 1.0


@given(digits=st.integers(1, 10**14 - 1), exponent=st.integers(-22, 3))
@settings(max_examples=200)
def test_a_decimal_of_14_digits_stays_what_it_is(digits: int, exponent: int) -> None:
    value = float(f"{digits}e{exponent}")
    (actual,) = round_sums(np.array([value])).tolist()
    # Powers of ten are exact doubles up to 10^22: below 1e-9 the last bit is not.
    assert actual == value if value >= 1e-9 else math.isclose(actual, value, rel_tol=1e-15)


@given(value=st.floats(0, 1e300))
@settings(max_examples=300)
def test_any_sum_is_rounded_as_by_the_oracle_and_never_fails(value: float) -> None:
    (actual,) = round_sums(np.array([value])).tolist()
    assert math.isclose(actual, rounded_sum([value]), rel_tol=2e-14, abs_tol=5e-324)
    (again,) = round_sums(np.array([actual])).tolist()
    assert math.isclose(again, actual, rel_tol=1e-15, abs_tol=5e-324)


@pytest.mark.parametrize("value", [5e-324, 1e-320, 2.5e-310, 1e-300, 1.2345678901234567e-296, 1e-288])
def test_the_smallest_sums_are_numbers(value: float) -> None:
    (actual,) = round_sums(np.array([value, 1.0]))[:1].tolist()
    assert math.isclose(actual, rounded_sum([value]), rel_tol=1e-13, abs_tol=5e-324)


@given(
    cents=st.lists(st.integers(0, 10**7), min_size=2, max_size=60),
    seed=st.integers(0, 2**32),
    cut=st.integers(0, 60),
)
@settings(max_examples=100)
def test_neither_order_nor_cutting_shows_in_rounded_sums(cents: list[int], seed: int, cut: int) -> None:
    shuffled = random.Random(seed).sample(cents, len(cents))
    loads = np.array([value / 1000 for value in (*cents, *shuffled)])
    codes = np.repeat(ints(0, 1), len(cents))
    values = np.repeat(loads[:, None], WIDTH, axis=1)
    whole = sum_rows(("a", "b"), codes, np.zeros_like(codes), values)
    rows = ((codes[part], values[part]) for part in (slice(0, cut), slice(cut, None)))
    parts = [sum_rows(("a", "b"), some, np.zeros_like(some), value) for some, value in rows]
    packed = [pack(part) for part in parts]
    together = unpack(*(pa.concat_arrays([part[column] for part in packed]) for column in (0, 1)))
    first, second = round_sums(whole.sums)
    assert first.tolist() == second.tolist() == [rounded_sum([value / 1000 for value in cents])] * WIDTH
    assert entries(together) == entries(whole)


def test_rounding_many_sums_gives_no_warning_and_no_nan() -> None:
    values = np.concatenate([10.0 ** np.arange(-323, 308), [0.0, 5e-324, 1e15, 1.7e308]])
    assert np.isfinite(round_sums(values.reshape(5, -1))).all()


@pytest.mark.parametrize("size", [10_000, 100_000])
def test_the_order_of_very_many_terms_does_not_show(size: int) -> None:
    rng = np.random.default_rng(size)
    values = np.zeros((size, len(schema.MEASURES)))
    values[:] = np.round(rng.uniform(0, 900, size), 3)[:, None]
    codes, row_buckets = np.zeros(size, dtype=np.int64), np.full(size, 7)
    sums = {
        round_sums(sum_rows(("10.0.0.1",), codes, row_buckets, values[rng.permutation(size)]).sums)[0, 0]
        for _ in range(20)
    }
    assert len(sums) == 1
