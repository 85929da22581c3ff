"""The stability index by hand, and the drift of features in tables."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadcast import schema
from loadcast.errors import ArtefactError
from loadcast.kernels.calendar import epoch_seconds
from loadcast.kernels.drift import bin_counts, bin_edges, stability_index
from loadcast.kernels.features import CLASSIC
from loadcast.monitoring import drift
from loadcast.monitoring.drift import drifting_features, feature_drift

BEGIN = datetime(2016, 6, 1)
HOUR = epoch_seconds(BEGIN) // 3600


def test_the_index_is_the_sum_over_bins() -> None:
    then, now = np.array([79.5, 19.5]), np.array([49.5, 49.5])
    wanted = (0.5 - 0.8) * math.log(0.5 / 0.8) + (0.5 - 0.2) * math.log(0.5 / 0.2)
    assert stability_index(then, now) == pytest.approx(wanted)


def test_the_same_shares_are_no_drift_and_none_are_unknown() -> None:
    assert stability_index(np.array([9.5, 19.5, 0]), np.array([9.5, 19.5, 0])) == 0.0
    assert stability_index(np.array([0, 0]), np.array([1, 2])) is None
    assert stability_index(np.array([1, 2]), np.array([0, 0])) is None


def test_bins_hold_equally_many_and_frequent_values_stand_alone() -> None:
    values = np.arange(1_000.0)
    assert bin_counts(values, bin_edges(values)).tolist() == [100] * 10 + [0]
    idle = np.concatenate((np.zeros(500), values[:500]))
    assert bin_counts(idle, bin_edges(idle))[0] == 501
    assert bin_counts(np.array([np.nan, np.inf, 3.0]), bin_edges(np.zeros(9))).tolist() == [0, 1, 2]
    assert bin_edges(np.array([np.nan])).tolist() == []


def test_dates_do_not_drift() -> None:
    names = drifting_features(CLASSIC)
    assert "peakLoadLag48" in names
    assert not {"month", "linearTrend", "Holiday"} & set(names)


def table(folder: Path, values: np.ndarray, observed: bool = True) -> Path:
    """One row an hour, in two files."""
    times = [BEGIN + timedelta(hours=hour) for hour in range(len(values))]
    rows = pa.table(
        {
            schema.HOUR: pa.array(times, schema.TIMESTAMP),
            schema.OBSERVED: [observed] * len(values),
            "a": values,
            "b": np.zeros(len(values)),
        }
    )
    folder.mkdir()
    half = len(rows) // 2
    pq.write_table(rows.slice(0, half), folder / "part-0.parquet")
    pq.write_table(rows.slice(half), folder / "part-1.parquet")
    return folder


def test_features_are_compared_with_the_training_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "_ROWS_PER_BATCH", 64)
    rng = np.random.default_rng(1)
    features = table(tmp_path / "f", np.concatenate((rng.normal(0, 1, 1_000), rng.normal(3, 1, 500))))
    now = HOUR + 1_000, HOUR + 1_499
    moved = feature_drift(["a", "b"], (features, HOUR + 1_000), (features, now))
    assert moved["a"] is not None
    assert moved["a"] > 2
    assert moved["b"] == 0.0
    same = feature_drift(["a"], (features, HOUR + 1_000), (features, (HOUR, HOUR + 999)))
    assert same["a"] == pytest.approx(0)


def test_hours_that_were_not_observed_do_not_count(tmp_path: Path) -> None:
    silent = table(tmp_path / "f", np.arange(10.0), observed=False)
    assert feature_drift(["a"], (silent, HOUR + 5), (silent, (HOUR + 5, HOUR + 9))) == {"a": None}


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "part-0.parquet").write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match=r"part-0.parquet cannot be read: .* Run ETL again"):
        feature_drift(["a"], (folder, HOUR), (folder, (HOUR, HOUR)))
