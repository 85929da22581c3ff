"""Quantiles from counts of bits are numpy's, to the last bit, however the numbers are cut into parts."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.kernels.quantiles import Prefixes, count_prefixes, quantiles

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=3)
NUMBERS = st.one_of(
    st.floats(-1e300, 1e300),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.0, math.nextafter(1, 2), 100.0, 1e300]),
)


def counted(parts: list[list[float]], level: int, prefixes: Prefixes) -> Counter[int]:
    return sum((count_prefixes(np.array(part, dtype=np.float64), level, prefixes) for part in parts), Counter())


@given(st.lists(st.lists(NUMBERS, max_size=12), min_size=1, max_size=5), SHARES)
def test_they_are_numpy_s_of_all_parts_together(parts: list[list[float]], shares: list[float]) -> None:
    actual = quantiles(lambda level, prefixes: counted(parts, level, prefixes), shares)
    numbers = [number + 0.0 for part in parts for number in part]
    wanted = np.quantile(numbers, shares) if numbers else np.full(len(shares), np.nan)
    np.testing.assert_array_equal(actual, wanted)


def test_many_numbers_of_few_and_of_many_values() -> None:
    drawn = np.random.default_rng(13)
    for numbers in (drawn.gamma(0.5, 300, 100_000), np.round(drawn.gamma(0.5, 300, 100_000)), np.zeros(1000)):
        parts = np.array_split(numbers, 7)
        shares = [0.0, 0.25, 0.5, 0.85, 0.999, 1.0]
        actual = quantiles(
            lambda level, prefixes, parts=parts: sum(
                (count_prefixes(part, level, prefixes) for part in parts), Counter()
            ),
            shares,
        )
        assert actual == np.quantile(numbers, shares).tolist()


def test_counts_that_do_not_belong_together_are_told() -> None:
    with pytest.raises(ValueError, match="counts of a level"):
        quantiles(lambda level, prefixes: Counter({3: 1}) if level == 1 else Counter(), [0.5])
