"""Calibration: sums that do not depend on how rows are cut, and the scores that follow from them."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.kernels.calibration import N_BINS, Calibration


def rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet([0.4, 0.3, 0.2], n)
    return draw.integers(1, 4, n), shares.argmax(axis=1) + 1, shares


def plainly(truth: np.ndarray, labels: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """Brier score and expected calibration error, row by row."""
    squares = [
        sum((share[k] - (true == k + 1)) ** 2 for k in range(3)) for true, share in zip(truth, shares, strict=True)
    ]
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(N_BINS)]
    for true, label, share in zip(truth, labels, shares, strict=True):
        confidence = share[label - 1]
        bins[min(int(confidence * N_BINS), N_BINS - 1)].append((confidence, bool(label == true)))
    gaps = [abs(sum(hit for _, hit in items) - sum(sure for sure, _ in items)) for items in bins]
    return sum(squares) / len(truth), sum(gaps) / len(truth)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 200))
def test_the_scores_are_those_of_their_definitions(seed: int, n: int) -> None:
    data = rows(seed, n)
    report = Calibration.of(*data).report()
    brier, error = plainly(*data)
    assert report["brierScore"] == pytest.approx(brier, rel=1e-9)
    assert report["expectedCalibrationError"] == pytest.approx(error, rel=1e-9, abs=1e-12)
    assert sum(item["rows"] for item in report["reliability"]) == n
    for item in report["reliability"]:
        assert item["from"] - 1e-9 <= item["confidence"] <= item["to"] + 1e-9
        assert 0 <= item["accuracy"] <= 1


@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 90), max_size=3))
def test_parts_add_up_and_travel_as_json(seed: int, cuts: list[int]) -> None:
    truth, labels, shares = rows(seed, 90)
    total = Calibration.none()
    bounds = [0, *sorted(cuts), 90]
    for begin, end in pairwise(bounds):
        part = Calibration.of(truth[begin:end], labels[begin:end], shares[begin:end])
        total = total.plus(Calibration.from_json(json.loads(json.dumps(part.as_json()))))
    whole = Calibration.of(truth, labels, shares).report()
    assert total.report()["expectedCalibrationError"] == pytest.approx(whole["expectedCalibrationError"], rel=1e-9)
    assert [item["rows"] for item in total.report()["reliability"]] == [item["rows"] for item in whole["reliability"]]


def test_a_forecast_that_is_sure_and_right_has_no_error() -> None:
    truth = np.array([1, 2, 3])
    report = Calibration.of(truth, truth, np.eye(3)).report()
    assert (report["brierScore"], report["expectedCalibrationError"]) == (0.0, 0.0)
    assert report["reliability"] == [{"from": 0.9, "to": 1.0, "rows": 3, "accuracy": 1.0, "confidence": 1.0}]


def test_nothing_is_known_of_no_rows() -> None:
    nothing = {"brierScore": None, "expectedCalibrationError": None, "reliability": []}
    assert Calibration.none().report() == nothing
    assert Calibration.of(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3))).report() == nothing
