"""Means and deviations against rational and decimal arithmetic: equal to the last bit, for any values and parts."""

from __future__ import annotations

import decimal
import json
import math
import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.kernels.moments import Moments, _root

LARGEST, SMALLEST = 1.7976931348623157e308, 5e-324
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
LOADS = st.decimals(0, 10**15, places=3).map(float)
COLUMNS = st.lists(DOUBLES | LOADS | st.sampled_from([0.0, -0.0, SMALLEST, -SMALLEST, LARGEST, -LARGEST]), max_size=40)


def of(values: Sequence[float]) -> Moments:
    return Moments.of(np.array([values], dtype=np.float64))


def exact(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, each rounded once."""
    terms = [Fraction(value) for value in values]
    mean = sum(terms) / len(terms)
    if len(terms) == 1:
        return float(mean), 0.0
    variance = sum((term - mean) ** 2 for term in terms) / (len(terms) - 1)
    with decimal.localcontext(decimal.Context(prec=2_500, Emin=-10_000, Emax=10_000)):
        return float(mean), float((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


def same_bits(actual: float, wanted: float) -> bool:
    return (actual, math.copysign(1, actual)) == (wanted, math.copysign(1, wanted)) or actual == wanted == 0


@given(COLUMNS.filter(bool))
def test_means_and_deviations_are_the_doubles_nearest_to_the_exact_ones(values: list[float]) -> None:
    moments = of(values)
    mean, deviation = exact(values)
    assert same_bits(moments.mean[0], mean)
    assert same_bits(moments.deviation[0], deviation)


@given(COLUMNS, st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=6))
def test_neither_order_nor_cutting_shows(values: list[float], draw: random.Random, cuts: list[int]) -> None:
    shuffled = draw.sample(values, len(values))
    places = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    parts = [of(shuffled[begin:end]) for begin, end in pairwise(places)]
    assert sum(draw.sample(parts, len(parts)), Moments.none(1)) == of(values)


@given(COLUMNS)
def test_sums_travel_as_json(values: list[float]) -> None:
    moments = of(values)
    assert Moments.unpacked(moments.rows, **json.loads(json.dumps(moments.packed()))) == moments


def test_zeros_at_the_end_do_not_travel() -> None:
    assert len(json.dumps(of([123.25] * 3).packed())) < 60


def test_columns_are_apart() -> None:
    values = np.random.default_rng(1).lognormal(5, 2, (7, 300))
    moments = Moments.of(values)
    assert moments.rows == 300
    for column, row in enumerate(values):
        assert (moments.mean[column], moments.deviation[column]) == exact(row.tolist())


def test_columns_laid_out_any_way_are_the_same() -> None:
    values = np.random.default_rng(2).random((5, 64))
    for other in (np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2], values[::-1][::-1]):
        assert Moments.of(other) == Moments.of(values)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e15, SMALLEST, LARGEST, -LARGEST])
@pytest.mark.parametrize("number", [1, 2, 3, 1000])
def test_equal_values_have_their_own_mean_and_no_deviation(value: float, number: int) -> None:
    assert (of([value] * number).mean[0], of([value] * number).deviation[0]) == (value, 0.0)


def test_no_rows_have_neither() -> None:
    for moments in (Moments.none(3), Moments.of(np.zeros((3, 0)))):
        assert (moments.rows, moments.mean.tolist(), moments.deviation.tolist()) == (0, [0.0] * 3, [0.0] * 3)


def test_more_rows_than_the_integers_have_room_for_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).lognormal(3, 3, (2, 100))
    whole = Moments.of(values)
    monkeypatch.setattr("loadcast.kernels.moments._MOST_ROWS", 7)
    assert Moments.of(values) == whole


def test_the_integers_have_room_for_as_many_of_the_largest_limbs() -> None:
    from loadcast.kernels.moments import _MOST_ROWS

    limb = (1 << 18) - 1
    assert (2 * limb * limb + limb * limb) * _MOST_ROWS < 1 << 63


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_finite_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no finite number"):
        of([1.0, value])


@given(st.integers(1, 1 << 4000), st.integers(1, 1 << 60))
def test_a_root_is_rounded_once(numerator: int, denominator: int) -> None:
    with decimal.localcontext(decimal.Context(prec=4_000, Emin=-10_000, Emax=10_000)):
        wanted = float((Decimal(numerator) / Decimal(denominator)).sqrt() / (1 << 1074))
    assert _root(numerator, denominator) == wanted


def test_a_root_beside_the_middle_of_two_doubles_goes_to_the_nearer_one() -> None:
    middle = (1 << 53) + 1  # between two doubles; even ones win where it is met exactly
    scale = 1 << 1074
    assert _root((middle * scale) ** 2, 1) == float(1 << 53)
    assert _root((middle * scale) ** 2 + 1, 1) == float((1 << 53) + 2)
    assert _root((middle * scale) ** 2 - 1, 1) == float(1 << 53)
