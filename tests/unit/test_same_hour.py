"""The commonest class of the same hour over the last days, against looking each day up."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadcast.kernels.same_hour import commonest_of_same_hour

WINDOWS = (1, 7, 28)
FIRST_HOUR = 400_000  # some hours into a day
DAYS = 45


def by_hand(classes: dict[tuple[int, int], int], server: int, hour: int, days: int) -> int:
    """The class of a window of `days`, the youngest of which is two days before; 0 where none is known."""
    known = [(server, hour - 24 * day) for day in range(2, 2 + days)]
    counts = Counter(classes[key] for key in known if key in classes)
    return min(counts, key=lambda label: (-counts[label], label), default=0)


def assert_as_by_hand(classes: dict[tuple[int, int], int]) -> None:
    codes, hours = (np.array([key[index] for key in classes], dtype=np.int64) for index in (0, 1))
    actual = commonest_of_same_hour(codes, hours, np.array(list(classes.values()), dtype=np.int8), WINDOWS)
    for days, labels in zip(WINDOWS, actual, strict=True):
        assert labels.tolist() == [by_hand(classes, *key, days) for key in classes]


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from([0, 2]),
            # Few hours of the day, so that days meet.
            st.builds(lambda day, hour: FIRST_HOUR + 24 * day + hour, st.integers(0, DAYS), st.integers(0, 1)),
        ),
        st.integers(1, 3),
        max_size=120,
    )
)
def test_windows_are_as_looked_up_day_by_day(classes: dict[tuple[int, int], int]) -> None:
    assert_as_by_hand(classes)


def test_whole_grids_are_as_looked_up_day_by_day() -> None:
    drawn = np.random.default_rng(13)
    lengths = {0: 31 * 24 + 5, 1: 3, 2: 40 * 24}
    keys = [(server, FIRST_HOUR + 7 * server + hour) for server, length in lengths.items() for hour in range(length)]
    assert_as_by_hand({key: int(drawn.integers(1, 4)) for key in keys})


def test_of_equals_the_lower_counts_and_of_none_nothing() -> None:
    hours = FIRST_HOUR + 24 * np.array([0, 1, 3])
    (labels,) = commonest_of_same_hour(np.zeros(3, dtype=np.intp), hours, np.array([3, 2, 1], dtype=np.int8), [2])
    assert labels.tolist() == [0, 0, 2]


def test_no_rows_have_no_classes() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert [labels.tolist() for labels in commonest_of_same_hour(none, none, none.astype(np.int8), WINDOWS)] == [[]] * 3
