"""metrics.json, computed anew by hand from what the run published."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

import runs
from loadcast import paths, schema

pytestmark = pytest.mark.spark

LABELS = (1, 2, 3)
SAME_HOUR = {"mostFrequentOfSameHour7Days": 7, "mostFrequentOfSameHour28Days": 28}
NAIVE = ("sameClassAs48hBefore", "sameClassAs168hBefore", "mostFrequentOfHourOfWeek", "mostFrequent", *SAME_HOUR)
SERVER_HOUR_OF_WEEK = [schema.SERVER, "dayofweek", "hourofday"]


# --- the scores, written out ----------------------------------------------------------------------------------------


def by_hand(truth: Sequence[int], said: Sequence[int]) -> dict[str, Any]:
    """All scores of a forecast, from pairs of true and forecast class."""
    pairs = Counter(zip(truth, said, strict=True))
    total = len(truth)
    per_class, occurring = {}, []
    for label in LABELS:
        hits = pairs[label, label]
        claimed = sum(pairs[other, label] for other in LABELS)
        support = sum(pairs[label, other] for other in LABELS)
        precision = hits / claimed if claimed else 0.0
        recall = hits / support if support else 0.0
        f1 = 2 * hits / (claimed + support) if claimed + support else 0.0
        name = schema.CLASS_NAMES[label]
        per_class[name] = {"precision": precision, "recall": recall, "f1": f1, "support": support}
        occurring += [f1] if claimed + support else []
    scores = per_class.values()
    return {
        "rows": total,
        "accuracy": sum(pairs[label, label] for label in LABELS) / total,
        **{
            f"weighted{name[0].upper()}{name[1:]}": sum(score[name] * score["support"] for score in scores) / total
            for name in ("precision", "recall", "f1")
        },
        "macroF1": sum(occurring) / len(occurring),
        "perClass": per_class,
        "confusionMatrix": {
            "labels": list(schema.CLASS_NAMES.values()),
            "rowsAreTrueClass": [[pairs[true, said] for said in LABELS] for true in LABELS],
        },
    }


def class_of(load: float) -> int:
    return 1 if load <= 100 else 2 if load <= 500 else 3


def commonest(labels: pd.Series) -> int:
    """The most frequent class, the lower of equals."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


def same_hours(classes: dict[tuple[str, Any], int], server: str, hour: Any, days: int) -> list[int]:
    """The classes of the hours 48, 72, … hours before, of as many days, without hours that were not observed."""
    keys = [(server, hour - np.timedelta64(day, "D")) for day in range(2, 2 + days)]
    return [classes[key] for key in keys if key in classes]


@pytest.fixture(scope="module")
def answers(hostile: runs.Run) -> pd.DataFrame:
    """Observed hours with what each naive forecast says of them."""
    hours = runs.frame(hostile, paths.HOURLY)
    load = dict(zip(zip(hours[schema.SERVER], hours[schema.HOUR], strict=True), hours[schema.PEAK_LOAD], strict=True))
    rows = runs.frame(hostile, paths.FEATURES)
    rows = rows[rows[schema.OBSERVED]].reset_index(drop=True)
    for name, lag_h in zip(NAIVE, (48, 168), strict=False):
        earlier = rows[schema.HOUR] - np.timedelta64(lag_h, "h")
        # Before its first hour a server has no load.
        rows[name] = [class_of(load.get(key, 0.0)) for key in zip(rows[schema.SERVER], earlier, strict=True)]
    rows["test"] = rows[schema.HOUR] >= hostile.settings.split
    training = rows[~rows["test"]]
    overall = commonest(training[schema.LABEL])
    usual = training.groupby(SERVER_HOUR_OF_WEEK)[schema.LABEL].apply(commonest).to_dict()
    rows[NAIVE[2]] = [usual.get(tuple(key), overall) for key in rows[SERVER_HOUR_OF_WEEK].itertuples(index=False)]
    rows[NAIVE[3]] = overall
    keys = list(zip(rows[schema.SERVER], rows[schema.HOUR], strict=True))
    classes = dict(zip(keys, rows[schema.LABEL], strict=True))
    for name, days in SAME_HOUR.items():
        known = (same_hours(classes, *key, days) for key in keys)
        rows[name] = [commonest(pd.Series(labels)) if labels else overall for labels in known]
    return rows


def part_of(answers: pd.DataFrame, part: str) -> pd.DataFrame:
    return answers[answers["test"] == (part == "test")]


def assert_scores(actual: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name == "perClass":
            for label, scores in value.items():
                assert actual[name][label] == pytest.approx(scores, rel=1e-12), label
        elif isinstance(value, float):
            assert actual[name] == pytest.approx(value, rel=1e-12), name
        else:
            assert actual[name] == value, name


# --- the tests ------------------------------------------------------------------------------------------------------


def test_metrics_json_is_what_training_returned(hostile: runs.Run) -> None:
    assert json.loads((hostile.folder / paths.METRICS).read_text()) == hostile.metrics
    assert set(hostile.metrics) == {"formatVersion", "train", "test", "warning"}


def test_predictions_hold_every_test_row_in_the_contract_s_columns(hostile: runs.Run) -> None:
    actual, rows = runs.frame(hostile, paths.PREDICTIONS), runs.test_rows(hostile).to_pandas()
    assert list(actual.columns) == list(schema.PREDICTION_COLUMNS)
    names = [schema.KEY, schema.SERVER, schema.HOUR, schema.OBSERVED, schema.LABEL]
    pd.testing.assert_frame_equal(actual[names], rows[names])
    assert actual[schema.HOUR].min() == pd.Timestamp(hostile.settings.split)
    assert (~actual[schema.OBSERVED]).any()


def test_the_prediction_is_the_class_of_the_largest_probability(hostile: runs.Run) -> None:
    actual = runs.frame(hostile, paths.PREDICTIONS)
    shares = actual[list(schema.PROBABILITY_COLUMNS.values())].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    assert (actual[schema.PREDICTION] == shares.argmax(axis=1) + 1).all()


def test_the_forest_s_test_scores_are_of_the_observed_hours_alone(hostile: runs.Run) -> None:
    predictions = runs.frame(hostile, paths.PREDICTIONS)
    observed = predictions[predictions[schema.OBSERVED]]
    actual = hostile.metrics["test"]
    assert actual["rows"] == len(observed) < len(predictions)
    assert_scores(actual, by_hand(observed[schema.LABEL].tolist(), observed[schema.PREDICTION].astype(int).tolist()))
    assert all(actual["perClass"][name]["support"] > 0 for name in schema.CLASS_NAMES.values())


def test_log_loss_is_the_mean_of_minus_the_logarithm_of_the_true_class_s_probability(hostile: runs.Run) -> None:
    predictions = runs.frame(hostile, paths.PREDICTIONS)
    losses = [
        -math.log(max(getattr(row, schema.PROBABILITY_COLUMNS[row.label]), 1e-15))
        for row in predictions[predictions[schema.OBSERVED]].itertuples()
    ]
    assert hostile.metrics["test"]["logLoss"] == pytest.approx(math.fsum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", NAIVE)
def test_naive_forecasts_score_as_their_definitions_say(
    hostile: runs.Run, answers: pd.DataFrame, part: str, name: str
) -> None:
    rows = part_of(answers, part)
    assert_scores(hostile.metrics[part]["naive"][name], by_hand(rows[schema.LABEL].tolist(), rows[name].tolist()))


def test_the_naive_forecasts_differ_from_one_another(answers: pd.DataFrame) -> None:
    assert len({tuple(part_of(answers, "test")[name]) for name in NAIVE}) == len(NAIVE)


@pytest.mark.parametrize("part", ["train", "test"])
def test_forest_and_naive_forecasts_are_scored_on_the_same_rows(
    hostile: runs.Run, answers: pd.DataFrame, part: str
) -> None:
    actual = hostile.metrics[part]
    assert {actual["rows"], *(actual["naive"][name]["rows"] for name in NAIVE)} == {len(part_of(answers, part))}
    assert set(actual["naive"]) == set(NAIVE)
    supports = [scores["support"] for scores in actual["perClass"].values()]
    for name in NAIVE:
        assert [scores["support"] for scores in actual["naive"][name]["perClass"].values()] == supports


@pytest.mark.parametrize("part", ["train", "test"])
def test_lift_is_over_the_naive_forecast_with_the_best_macro_f1(hostile: runs.Run, part: str) -> None:
    actual = hostile.metrics[part]
    best = actual["naive"][actual["bestNaive"]]
    assert best["macroF1"] == max(scores["macroF1"] for scores in actual["naive"].values())
    for name in ("accuracy", "macroF1"):
        assert actual["liftOverBestNaive"][name] == pytest.approx(actual[name] - best[name], abs=1e-15)
