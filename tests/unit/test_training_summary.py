"""What is gathered of the training rows, part by part, against pandas and exact arithmetic on all of them."""

from __future__ import annotations

import decimal
import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import classic
from bundles import random_features
from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.encode import encoders_of
from loadcast.kernels.features import CLASSIC
from loadcast.kernels.training import TrainingSummary, combine, summarize

SPLIT = datetime(2016, 6, 22)
SPLIT_SECONDS = epoch_seconds(SPLIT)
N_HISTORY = len(classic.HISTORY_COLUMNS)
NEVER = epoch_seconds(datetime(2030, 1, 1))


def replaced(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    """The table with other values in a column."""
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def observed(table: pa.Table) -> pa.Table:
    return replaced(table, schema.OBSERVED, [True] * table.num_rows)


def with_history(values: Sequence[float]) -> pa.Table:
    """Training rows whose first history column has these values."""
    return replaced(observed(random_features(len(values))), classic.HISTORY_COLUMNS[0], values)


def gathered(table: pa.Table, bounds: Sequence[int], split_seconds: int = NEVER) -> TrainingSummary:
    """The summary of the table, of parts that are cut at these rows."""
    cuts_at = [0, *sorted(bounds), table.num_rows]
    parts = [table.slice(begin, end - begin) for begin, end in pairwise(cuts_at)]
    return combine([summarize(part, CLASSIC, split_seconds).as_json() for part in parts], CLASSIC)


def same(left: TrainingSummary, right: TrainingSummary) -> bool:
    """Equal to the last bit."""
    return (
        (left.rows, left.levels) == (right.rows, right.levels)
        and left.mean.tobytes() == right.mean.tobytes()
        and left.deviation.tobytes() == right.deviation.tobytes()
    )


def assert_is_of(summary: TrainingSummary, rows: pd.DataFrame) -> None:
    assert summary.rows == len(rows)
    for name in classic.CATEGORICAL_COLUMNS:
        assert summary.levels[name] == Counter(rows[name].astype(str))
    history = rows[list(classic.HISTORY_COLUMNS)]
    np.testing.assert_allclose(summary.mean, history.mean(), rtol=1e-13)
    np.testing.assert_allclose(summary.deviation, history.std(ddof=1), rtol=1e-12)


# --- which rows -----------------------------------------------------------------------------------------------------


def test_the_summary_is_of_the_observed_rows_before_the_split() -> None:
    table = random_features(700, seed=1)
    frame = table.to_pandas()
    training = frame[frame[schema.OBSERVED] & (frame[schema.HOUR] < SPLIT)]
    assert 0 < len(training) < frame[schema.OBSERVED].sum() < len(frame)
    assert_is_of(summarize(table, CLASSIC, SPLIT_SECONDS), training)


def test_the_hour_of_the_split_is_no_training_row_and_the_one_before_it_is() -> None:
    table = observed(random_features(3))
    hours = [datetime(2016, 6, 21, 23), SPLIT, datetime(2016, 6, 22, 1)]
    table = replaced(replaced(table, schema.HOUR, hours), "hourofday", [23, 0, 1])
    assert summarize(table, CLASSIC, SPLIT_SECONDS).levels["hourofday"] == {"23": 1}
    assert summarize(table, CLASSIC, SPLIT_SECONDS + 1).levels["hourofday"] == {"23": 1, "0": 1}
    assert summarize(table, CLASSIC, SPLIT_SECONDS - 1).rows == 1


def test_the_numbers_of_unobserved_rows_do_not_matter() -> None:
    table = random_features(300, seed=2)
    seen = table.column(schema.OBSERVED)
    changed = pc.if_else(seen, table.column("peakLoadLag48"), 1e300)
    changed = replaced(table, "peakLoadLag48", changed.to_pylist())
    assert not changed.equals(table)
    assert same(summarize(changed, CLASSIC, SPLIT_SECONDS), summarize(table, CLASSIC, SPLIT_SECONDS))


def test_chunks_of_the_table_do_not_show() -> None:
    table = random_features(300, seed=3)
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7, 1), table.slice(8)])
    assert same(summarize(pieces, CLASSIC, SPLIT_SECONDS), summarize(table, CLASSIC, SPLIT_SECONDS))


@pytest.mark.parametrize("table", [random_features(0), random_features(50)])
def test_no_training_rows_have_no_levels_and_no_moments(table: pa.Table) -> None:
    summary = summarize(table, CLASSIC, 0)
    assert summary.rows == 0
    assert summary.levels == {name: Counter() for name in classic.CATEGORICAL_COLUMNS}
    assert not summary.mean.any()
    assert not summary.deviation.any()


def test_a_single_row_is_its_own_mean_without_deviation() -> None:
    table = observed(random_features(1, seed=4))
    summary = summarize(table, CLASSIC, NEVER)
    (row,) = table.to_pylist()
    assert summary.mean.tolist() == [row[name] for name in classic.HISTORY_COLUMNS]
    assert summary.deviation.tolist() == [0.0] * N_HISTORY
    assert summary.ordered_levels(schema.SERVER) == [row[schema.SERVER]]


# --- levels ---------------------------------------------------------------------------------------------------------


def test_levels_go_by_frequency_and_equals_by_their_text() -> None:
    table = replaced(observed(random_features(9)), "hourofday", [9, 10, 2, 2, 10, 9, 7, 7, 7])
    for cuts in ((), (3, 6), range(9)):
        assert gathered(table, cuts).ordered_levels("hourofday") == ["7", "10", "2", "9"]


def test_levels_of_equal_frequency_go_by_code_point() -> None:
    servers = ["2001:db8::a", "10.0.0.9", "10.0.0.10", "2001:db8::", "9.0.0.1"]
    table = replaced(observed(random_features(5)), schema.SERVER, servers)
    assert gathered(table, (2,)).ordered_levels(schema.SERVER) == sorted(servers)


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_any_parts_in_any_order_give_what_all_rows_give_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(0, 60))
    cuts = rng.integers(0, number + 1, rng.integers(0, 8)).tolist()
    table = random_features(number, seed=seed)
    shuffled = table.take(rng.permutation(number))
    assert same(gathered(shuffled, cuts, SPLIT_SECONDS), summarize(table, CLASSIC, SPLIT_SECONDS))


def test_many_parts_of_many_rows_are_as_one() -> None:
    table = random_features(20_000, seed=5)
    cuts = np.random.default_rng(6).integers(0, 20_001, 100).tolist()
    frame = table.to_pandas()
    assert_is_of(gathered(table, cuts), frame[frame[schema.OBSERVED]])


def test_empty_parts_change_no_bit() -> None:
    table = random_features(40, seed=7)
    left, right = (summarize(part, CLASSIC, NEVER).as_json() for part in (table.slice(0, 13), table.slice(13)))
    empty = summarize(table, CLASSIC, 0).as_json()
    assert same(combine([empty, left, empty, empty, right, empty], CLASSIC), combine([left, right], CLASSIC))


@pytest.mark.parametrize("texts", [[], [summarize(random_features(5), CLASSIC, 0).as_json()] * 3])
def test_nothing_put_together_is_nothing(texts: list[str]) -> None:
    nothing = combine(texts, CLASSIC)
    zeros = [0.0] * N_HISTORY
    assert (nothing.rows, nothing.mean.tolist(), nothing.deviation.tolist()) == (0, zeros, zeros)
    assert nothing.ordered_levels(schema.SERVER) == []


def test_one_part_keeps_every_bit_on_its_way() -> None:
    values = [0.1, 1 / 3, 1e15, 5e-324, math.pi * 1e-200, 1e15 - 0.125]
    for table in (with_history(values), random_features(500, seed=8)):
        summary = summarize(table, CLASSIC, NEVER)
        assert same(combine([summary.as_json()], CLASSIC), summary)
        json.loads(summary.as_json(), parse_constant=pytest.fail)  # no NaN and no Infinity: not JSON


# --- exactness ------------------------------------------------------------------------------------------------------


def exact(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, each rounded once."""
    terms = [Fraction(value) for value in values]
    mean = sum(terms) / len(terms)
    variance = sum((term - mean) ** 2 for term in terms) / (len(terms) - 1)
    with decimal.localcontext(decimal.Context(prec=1_000)):
        return float(mean), float((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


@pytest.mark.parametrize("cuts", [(), (1,), (50,), range(100)])
@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (1e6, 1e-3), (1e12, 0.01), (1e-8, 1e-9), (500, 1e15)])
def test_no_digits_are_lost_where_the_mean_is_large(mean: float, spread: float, cuts: Sequence[int]) -> None:
    values = (mean + np.random.default_rng(9).random(100) * spread).tolist()
    actual = gathered(with_history(values), cuts)
    assert (actual.mean[0], actual.deviation[0]) == exact(values)


@pytest.mark.parametrize("number", [2, 3, 7, 100, 4096])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 123.4, 1e15])
def test_equal_values_have_their_own_mean_and_no_deviation_at_all(value: float, number: int) -> None:
    table = with_history([value] * number)
    for cuts in ((), (1,), (number // 3, number // 2)):
        actual = gathered(table, cuts)
        assert (actual.mean[0], actual.deviation[0]) == (value, 0.0)


# --- what it teaches ------------------------------------------------------------------------------------------------


def test_columns_with_one_level_are_only_indexed_and_the_others_encoded_too() -> None:
    encoders = encoders_of(CLASSIC, summarize(random_features(500, seed=10), CLASSIC, SPLIT_SECONDS))
    assert encoders.only_indexed == ("year", "month", "Holiday")
    assert encoders.for_encode == tuple(
        name for name in classic.CATEGORICAL_COLUMNS if name not in ("year", "month", "Holiday")
    )


def test_what_does_not_vary_is_scaled_to_zero_without_a_warning() -> None:
    table = with_history([0.1] * 3)
    encoders = encoders_of(CLASSIC, summarize(table, CLASSIC, NEVER))
    assert encoders.scale[0] == 0
    assert (encoders.scale[1:-1] > 0).all()
    assert np.isfinite(encoders.scale).all()


def test_a_deviation_whose_inverse_is_no_number_counts_as_none() -> None:
    encoders = encoders_of(CLASSIC, summarize(with_history([0.0, 5e-324, 1e-310]), CLASSIC, NEVER))
    assert encoders.scale[0] == 0
    encoders = encoders_of(CLASSIC, summarize(with_history([0.0, 1e-307]), CLASSIC, NEVER))
    assert encoders.scale[0] > 1e306


@pytest.mark.parametrize(
    "table", [random_features(0), observed(random_features(1)), pa.concat_tables([observed(random_features(1))] * 2)]
)
def test_too_few_rows_to_train_on_are_an_error_that_says_what_to_check(table: pa.Table) -> None:
    with pytest.raises(InputError, match=r"no two observed hours before testSplitStart.*Check trainBegin"):
        encoders_of(CLASSIC, summarize(table, CLASSIC, NEVER))
