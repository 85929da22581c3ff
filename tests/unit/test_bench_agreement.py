"""Two engines' sums compared: every way to differ is seen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.agreement import compare
from loadcast import schema

KEYS = [("10.0.0.1", 0), ("10.0.0.1", 5), ("10.0.0.2", 0), ("2001:db8::1", 10)]


def _table(keys: list[tuple[str, int]] = KEYS, **replaced: Any) -> pa.Table:
    number = len(keys)
    columns: dict[str, Any] = {
        schema.SERVER: [server for server, _ in keys],
        schema.BUCKET_START: pa.array([datetime(2016, 6, 1, 12, minute) for _, minute in keys], schema.TIMESTAMP),
        schema.NUM_SESSION: pa.array(range(1, number + 1), pa.int64()),
        **{name: pa.array([1000.0 * index] * number) for index, name in enumerate(schema.BUCKET_SUMS)},
    }
    return pa.table({**columns, **replaced})


def _sums(**values_at: float | None) -> pa.Array:
    values: list[float | None] = [1000.0] * len(KEYS)
    for name, value in values_at.items():
        values[int(name[1:])] = value
    return pa.array(values, pa.float64())


def test_the_same_in_another_order_and_other_types_agrees() -> None:
    ours = _table()
    other = ours.take(pa.array([2, 0, 3, 1]))
    other = other.set_column(0, schema.SERVER, other.column(0).dictionary_encode())
    other = other.set_column(1, schema.BUCKET_START, other.column(1).cast(pa.timestamp("ns")))
    other = other.set_column(2, schema.NUM_SESSION, other.column(2).cast(pa.int32()))
    agreement = compare(ours, other)
    assert agreement.agrees
    assert (agreement.keys, agreement.worst_relative_error, agreement.sessions) == (4, 0.0, 1.0)


def test_missing_and_unexpected_keys_are_counted() -> None:
    ours, other = _table(), _table([*KEYS[:3], ("10.0.0.9", 10)])
    agreement = compare(ours, other)
    assert (agreement.missing, agreement.unexpected, agreement.agrees) == (1, 1, False)


def test_a_key_of_another_bucket_is_another_key() -> None:
    agreement = compare(_table(), _table([*KEYS[:3], ("2001:db8::1", 15)]))
    assert (agreement.missing, agreement.unexpected) == (1, 1)


def test_nothing_at_all_does_not_agree_with_something() -> None:
    agreement = compare(_table(), _table([]))
    assert (agreement.missing, agreement.agrees, agreement.sessions) == (4, False, 0.0)
    assert compare(_table([]), _table([])).agrees


def test_a_count_that_is_off_by_one_is_seen() -> None:
    agreement = compare(_table(), _table(**{schema.NUM_SESSION: pa.array([1, 2, 4, 4], pa.int64())}))
    assert (agreement.wrong_counts, agreement.agrees) == (1, False)


@pytest.mark.parametrize(("error", "agrees"), [(1e-8, False), (2e-9, False), (5e-10, True), (1e-15, True)])
@pytest.mark.parametrize("name", schema.BUCKET_SUMS[1::3])
def test_sums_may_be_off_by_a_billionth(name: str, error: float, agrees: bool) -> None:
    ours = _table(**{name: _sums()})
    for value in (1000.0 * (1 + error), 1000.0 * (1 - error)):
        agreement = compare(ours, _table(**{name: _sums(_2=value)}))
        assert (agreement.agrees, agreement.wrong_sums) == (agrees, 0 if agrees else 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), None, 0.0, -1000.0])
def test_a_sum_that_is_no_number_or_another_one_is_wrong_on_either_side(bad: float | None) -> None:
    name = schema.BUCKET_SUMS[0]
    good, broken = _table(**{name: _sums()}), _table(**{name: _sums(_1=bad)})
    assert compare(good, broken).wrong_sums == 1
    assert compare(broken, good).wrong_sums == 1


def test_nan_on_both_sides_is_no_agreement() -> None:
    broken = _table(**{schema.BUCKET_SUMS[0]: _sums(_1=float("nan"))})
    assert compare(broken, broken).wrong_sums == 1


def test_zero_agrees_with_zero_but_not_with_a_tiny_number() -> None:
    name = schema.BUCKET_SUMS[0]
    zero = _table(**{name: _sums(_0=0.0)})
    assert compare(zero, _table(**{name: _sums(_0=-0.0)})).agrees
    assert compare(zero, _table(**{name: _sums(_0=1e-300)})).wrong_sums == 1


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="same server and bucket twice"):
        compare(_table(), _table([*KEYS, KEYS[0]]))


@pytest.mark.parametrize("name", [schema.SERVER, schema.BUCKET_START, schema.NUM_SESSION])
def test_a_null_in_a_key_or_count_is_refused(name: str) -> None:
    table = _table()
    holes = pa.array(np.array([False, True, False, False]))
    column = pa.compute.if_else(holes, pa.scalar(None, table.column(name).type), table.column(name))
    with pytest.raises(ValueError, match=name):
        compare(_table(), table.set_column(table.column_names.index(name), name, column))


def test_the_difference_is_told() -> None:
    told = str(compare(_table(), _table([*KEYS[:3], ("10.0.0.9", 10)])))
    assert told.startswith("differs: of 4 keys 1 missing, 1 unexpected, 0 with another count")
    assert str(compare(_table(), _table())) == "agrees in 4 keys, sums to 0e+00"
