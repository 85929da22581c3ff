"""Scores from a confusion matrix, against hand-computed values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from loadcast.artefacts.metrics import PartMetrics
from loadcast.kernels.scores import scores, warning_of
from loadcast.report.run import metrics_table


def of(*rows: tuple[int, int, int]) -> dict:
    return scores(np.array(rows, dtype=np.int64))


def test_scores_are_the_hand_computed_ones() -> None:
    actual = of((5, 1, 0), (2, 6, 2), (0, 1, 3))
    precision = {"low": 5 / 7, "medium": 6 / 8, "high": 3 / 5}
    recall = {"low": 5 / 6, "medium": 6 / 10, "high": 3 / 4}
    f1 = {name: 2 * precision[name] * recall[name] / (precision[name] + recall[name]) for name in precision}
    support = {"low": 6, "medium": 10, "high": 4}
    for name, of_class in actual["perClass"].items():
        wanted = {"precision": precision[name], "recall": recall[name], "f1": f1[name], "support": support[name]}
        assert of_class == pytest.approx(wanted, rel=1e-15)
    assert actual["rows"] == 20
    assert actual["accuracy"] == 14 / 20
    assert actual["macroF1"] == pytest.approx(sum(f1.values()) / 3, rel=1e-15)
    for name, values in (("weightedPrecision", precision), ("weightedRecall", recall), ("weightedF1", f1)):
        assert actual[name] == pytest.approx(sum(values[key] * support[key] for key in values) / 20, rel=1e-15)
    assert actual["weightedRecall"] == pytest.approx(actual["accuracy"], rel=1e-15)


def test_weighted_scores_have_the_same_bits_on_every_processor() -> None:
    for confusion in np.random.default_rng(1).integers(1, 900, (200, 3, 3)):
        actual = scores(confusion)
        classes = list(actual["perClass"].values())
        for name, rate in (("weightedPrecision", "precision"), ("weightedRecall", "recall"), ("weightedF1", "f1")):
            total = 0.0
            for one in classes:
                total += one[rate] * one["support"]  # rounded after each step, in the order of the classes
            assert actual[name] == total / actual["rows"]


def test_a_right_forecast_scores_one_everywhere() -> None:
    actual = of((3, 0, 0), (0, 2, 0), (0, 0, 1))
    assert {actual[name] for name in ("accuracy", "macroF1", "weightedPrecision", "weightedRecall", "weightedF1")} == {
        1
    }


def test_a_wrong_forecast_scores_zero_everywhere() -> None:
    actual = of((0, 3, 0), (0, 0, 2), (1, 0, 0))
    assert {actual[name] for name in ("accuracy", "macroF1", "weightedPrecision", "weightedRecall", "weightedF1")} == {
        0
    }


def test_a_class_never_forecast_has_precision_zero_and_counts() -> None:
    actual = of((4, 0, 0), (0, 4, 0), (2, 0, 0))
    assert actual["perClass"]["high"] == {"precision": 0, "recall": 0, "f1": 0, "support": 2}
    assert actual["macroF1"] == pytest.approx((0.8 + 1 + 0) / 3, rel=1e-15)


def test_a_class_forecast_but_never_true_counts_too() -> None:
    actual = of((4, 0, 1), (0, 5, 0), (0, 0, 0))
    assert actual["perClass"]["high"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert actual["macroF1"] == pytest.approx((8 / 9 + 1 + 0) / 3, rel=1e-15)


def test_a_class_that_is_neither_is_left_out_of_the_macro_mean() -> None:
    assert of((4, 0, 0), (0, 5, 0), (0, 0, 0))["macroF1"] == 1
    assert of((7, 0, 0), (0, 0, 0), (0, 0, 0))["macroF1"] == 1


def test_nothing_is_known_of_no_rows() -> None:
    actual = of((0, 0, 0), (0, 0, 0), (0, 0, 0))
    assert actual["rows"] == 0
    rates = [value for name, value in actual.items() if name not in ("rows", "perClass", "confusionMatrix")]
    assert rates == [None] * 5
    for values in actual["perClass"].values():
        assert values == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert set(actual) == set(of((1, 0, 0), (0, 0, 0), (0, 0, 0)))


def test_few_rows_say_how_few_they_are() -> None:
    assert "no observed hour in the test period" in str(warning_of(0))
    assert "of 1 observed hour of" in str(warning_of(1))
    assert "of 2 observed hours of" in str(warning_of(2))
    assert "of 99 observed hours of" in str(warning_of(99))
    assert warning_of(100) is None


def test_the_table_of_no_scores_shows_none(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = of((0, 0, 0), (0, 0, 0), (0, 0, 0))
    naive = {"mostFrequent": nothing, "sameClassAs48hBefore": nothing}
    unknown = {"logLoss": None, "bestNaive": None, "liftOverBestNaive": {"accuracy": None, "macroF1": None}}
    Console(width=120).print(metrics_table(PartMetrics.model_validate({**nothing, "naive": naive, **unknown})))
    shown = capsys.readouterr().out
    assert "Scores on 0 observed hours" in shown
    assert shown.count("–") == 3 * 5
    assert "best naive" not in shown


def test_scores_travel_as_json_with_the_matrix_they_are_from() -> None:
    actual = of((5, 1, 0), (2, 6, 2), (0, 1, 3))
    assert json.loads(json.dumps(actual)) == actual
    assert actual["confusionMatrix"] == {
        "labels": ["low", "medium", "high"],
        "rowsAreTrueClass": [[5, 1, 0], [2, 6, 2], [0, 1, 3]],
    }


def test_billions_of_rows_are_scored_as_a_handful() -> None:
    few, many = of((5, 1, 0), (2, 6, 2), (0, 1, 3)), scores(np.array([[5, 1, 0], [2, 6, 2], [0, 1, 3]]) * 10**12)
    assert many["macroF1"] == pytest.approx(few["macroF1"], rel=1e-15)
