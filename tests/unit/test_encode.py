"""The encode kernel against cell-by-cell arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import classic
from bundles import levels_of, random_features
from loadcast import schema
from loadcast.errors import ArtefactError
from loadcast.kernels.encode import Encoders, string_index
from reference import cold_start, feature_matrix

ONLY = ("year", "month", "Holiday")
ENCODE = tuple(name for name in classic.CATEGORICAL_COLUMNS if name not in ONLY)
N_HISTORY = len(classic.HISTORY_COLUMNS)


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    rng = np.random.default_rng(1)
    scale = rng.random(N_HISTORY)
    scale[4] = 0.0
    levels = levels_of(random_features(500, seed=1))
    return Encoders(classic.CLASSIC, levels, ONLY, ENCODE, rng.normal(size=N_HISTORY), scale)


def mixed_rows() -> pa.Table:
    """Rows with levels that training saw and such that it did not."""
    seen = random_features(40, seed=2)
    strange = random_features(40, seed=3, servers=("10.0.0.1", "192.0.2.9", "2001:db8::1"))
    year = pa.array([2017] * 40, pa.int32())
    return pa.concat_tables([seen, strange.set_column(strange.schema.get_field_index("year"), "year", year)])


def plain_vector(row: dict[str, Any], encoders: Encoders) -> list[float]:
    """Oracle: one record's feature vector, value by value."""
    vector: list[float] = []
    for name in encoders.only_indexed:
        levels = encoders.levels[name]
        vector.append(float(levels.index(str(row[name]))) if str(row[name]) in levels else float(len(levels)))
    for name in encoders.for_encode:
        vector += [1.0 if level == str(row[name]) else 0.0 for level in encoders.levels[name]]
    vector.append(row[classic.LINEAR_TREND])
    for i, name in enumerate(classic.HISTORY_COLUMNS):
        vector.append((row[name] - float(encoders.mean[i])) * float(encoders.scale[i]))
    return vector


def test_the_matrix_equals_the_plain_vectors_bit_for_bit(encoders: Encoders) -> None:
    table = mixed_rows()
    assert feature_matrix(table, encoders).tolist() == [plain_vector(row, encoders) for row in table.to_pylist()]


def test_the_matrix_has_the_width_that_the_encoders_tell(encoders: Encoders) -> None:
    assert feature_matrix(random_features(3), encoders).shape == (3, encoders.n_features)


def test_no_rows_give_an_empty_matrix(encoders: Encoders) -> None:
    assert feature_matrix(random_features(0), encoders).shape == (0, encoders.n_features)


def test_chunks_of_the_table_do_not_show(encoders: Encoders) -> None:
    table = mixed_rows()
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 1), table.slice(8)])
    assert np.array_equal(feature_matrix(pieces, encoders), feature_matrix(table, encoders))


def test_an_unseen_or_missing_level_gets_the_number_of_levels() -> None:
    levels = dict.fromkeys(classic.CATEGORICAL_COLUMNS, ("1", "2"))
    mean, scale = np.zeros(N_HISTORY), np.ones(N_HISTORY)
    encoders = Encoders(classic.CLASSIC, levels, (), classic.CATEGORICAL_COLUMNS, mean, scale)
    table = pa.table({"month": pa.array([2, 3, None, 1], pa.int32())})
    assert string_index(table, "month", encoders).tolist() == [1, 2, 2, 0]


def test_cold_start_marks_exactly_the_unseen_servers(encoders: Encoders) -> None:
    table = pa.table({schema.SERVER: ["10.0.0.2", "10.0.0.22", "", None, "10.0.0.1"]})
    assert cold_start(table, encoders).tolist() == [False, True, True, True, False]


def test_a_column_without_deviation_scales_to_zero(encoders: Encoders) -> None:
    scaled = feature_matrix(random_features(20), encoders)[:, -N_HISTORY:]
    assert not scaled[:, 4].any()


def test_huge_values_raise_no_warning(encoders: Encoders) -> None:
    table = random_features(2)
    at = table.schema.get_field_index("peakLoadLag48")
    huge = table.set_column(at, "peakLoadLag48", pa.array([1.7e308, -1.7e308]))
    assert np.isfinite(feature_matrix(huge, encoders)[:, :-N_HISTORY]).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"only_indexed": ("year",)}, "wanted each of"),
        ({"only_indexed": (*ONLY, "hour")}, "wanted each of"),
        ({"for_encode": (*ENCODE, "month")}, "wanted each of"),
        ({"levels": {"year": ("2016",)}}, "wanted each of"),
        ({"levels": dict.fromkeys(classic.CATEGORICAL_COLUMNS, ("1", "1"))}, "a level twice"),
        ({"mean": np.zeros(3)}, "wanted 20 finite"),
        ({"scale": np.full(N_HISTORY, np.nan)}, "wanted 20 finite"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(encoders: Encoders, changes: dict[str, Any], reason: str) -> None:
    parts = {
        name: getattr(encoders, name) for name in ("features", "levels", "only_indexed", "for_encode", "mean", "scale")
    }
    with pytest.raises(ArtefactError, match=reason):
        Encoders(**{**parts, **changes})
