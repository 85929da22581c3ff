"""Decisions by cost and confidence: the kernel against exact arithmetic, and what configuration and metrics say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from artefact_files import made_up_info, made_up_metrics
from loadcast import schema
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.costs import CostMatrix
from loadcast.errors import ArtefactError, ConfigError
from loadcast.kernels.decisions import UNDECIDED, DecisionRule, DecisionTally
from loadcast.kernels.evaluation import evaluate
from loadcast.kernels.horizon_tally import HorizonTally
from loadcast.kernels.naive import NAIVE_COLUMNS
from loadcast.kernels.scores import scores
from loadcast.kernels.tally import PartTally, no_tally
from loadcast.report.run import decision_lines
from loadcast.settings import parse_settings

PLAIN: dict[str, Any] = {"dataFile": "data/*.csv", "duration": "ONE_MONTH", "output": "output"}
BY_NAME = {
    "low": {"medium": 1, "high": 2.5},
    "medium": {"low": 3, "high": 1},
    "high": {"low": 10, "medium": 4, "high": 0.5},
}
MATRIX = ((0.0, 1.0, 2.5), (3.0, 0.0, 1.0), (10.0, 4.0, 0.5))
ZERO_ONE = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0))

#: Shares in 64ths and whole costs: sums of their products are exact, and so are ties.
SHARES = st.lists(st.integers(0, 64), min_size=2, max_size=2).map(
    lambda cuts: tuple((end - begin) / 64 for begin, end in pairwise([0, *sorted(cuts), 64]))
)
COSTS = st.lists(st.integers(0, 5), min_size=9, max_size=9).map(
    lambda flat: tuple(tuple(map(float, flat[at : at + 3])) for at in (0, 3, 6))
)


def expected(shares: Sequence[float], costs: CostMatrix, forecast: int) -> Fraction:
    return sum((Fraction(shares[true]) * Fraction(costs[true][forecast]) for true in range(3)), Fraction())


# --- the kernel -----------------------------------------------------------------------------------------------------


@given(st.lists(SHARES, max_size=20), COSTS, st.integers(0, 64))
def test_decisions_are_those_of_every_class_tried_in_turn(
    rows: list[tuple[float, ...]], costs: CostMatrix, confidence: int
) -> None:
    made = DecisionRule(costs, confidence / 64).decide(np.array(rows).reshape(-1, 3))
    assert made.labels is not None
    assert made.expected_costs is not None
    assert made.confident is not None
    assert len(made.labels) == len(made.expected_costs) == len(made.confident) == len(rows)
    for number, shares in enumerate(rows):
        tried = [expected(shares, costs, forecast) for forecast in range(3)]
        assert made.labels[number] == 1 + tried.index(min(tried))  # the lower of equals
        assert Fraction(float(made.expected_costs[number])) == min(tried)
        assert made.confident[number] == any(Fraction(share) >= Fraction(confidence, 64) for share in shares)


@given(st.lists(SHARES, min_size=1, max_size=20))
def test_where_every_mistake_costs_the_same_the_decision_is_the_likeliest_class(rows: list[tuple[float, ...]]) -> None:
    shares = np.array(rows)
    labels = DecisionRule(ZERO_ONE).decide(shares).labels
    assert labels is not None
    assert (labels == shares.argmax(axis=1) + 1).all()


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_row_s_decision_depends_on_that_row_alone(seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    rule = DecisionRule(tuple(map(tuple, draw.random((3, 3)).tolist())), 0.5)
    shares = draw.dirichlet([1, 1, 1], n)
    together = rule.decide(shares)
    alone = [rule.decide(shares[at : at + 1]) for at in range(n)]
    for name, values in together._asdict().items():
        assert values.tobytes() == b"".join(getattr(one, name).tobytes() for one in alone), name


def test_what_is_not_configured_is_not_decided() -> None:
    shares = np.full((2, 3), 1 / 3)
    assert UNDECIDED.is_empty
    assert UNDECIDED.decide(shares) == (None, None, None)
    assert DecisionRule(MATRIX).decide(shares).confident is None
    assert DecisionRule(None, 0.0).decide(shares).labels is None


# --- what forecasts have cost ---------------------------------------------------------------------------------------


def rows_of(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet([0.6, 0.5, 0.4], n)
    return draw.integers(1, 4, n), shares.argmax(axis=1) + 1, shares


def scored(truth: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Scores of a forecast, and of two naive ones: always low and always high."""
    matrices = []
    for said in (labels, np.full_like(truth, 1), np.full_like(truth, 3)):
        matrix = np.zeros((3, 3), dtype=np.int64)
        np.add.at(matrix, (truth - 1, said - 1), 1)
        matrices.append(scores(matrix))
    return {**matrices[0], "naive": {"low": matrices[1], "high": matrices[2]}}


@given(st.integers(0, 2**32), st.integers(0, 80), st.lists(st.integers(0, 80), max_size=3))
def test_bills_are_the_sums_over_rows_however_these_are_cut(seed: int, n: int, cuts: list[int]) -> None:
    truth, labels, shares = rows_of(seed, n)
    rule = DecisionRule(MATRIX, 0.7)
    tally = DecisionTally.none()
    for begin, end in pairwise([0, *sorted(min(cut, n) for cut in cuts), n]):
        part = DecisionTally.of(rule, truth[begin:end], labels[begin:end], shares[begin:end])
        tally = tally.plus(DecisionTally.from_json(json.loads(json.dumps(part.as_json()))))
    report = tally.report(rule, scored(truth, labels))
    bills = report["costs"]
    decided = rule.decide(shares).labels
    assert decided is not None
    for bill, said in (
        (bills["decision"], decided),
        (bills["prediction"], labels),
        (bills["naive"]["low"], np.full(n, 1)),
        (bills["naive"]["high"], np.full(n, 3)),
    ):
        total = sum(MATRIX[true - 1][forecast - 1] for true, forecast in zip(truth, said, strict=True))
        assert bill == {"total": total, "perRow": total / n if n else None}
    cheapest = min(("low", "high"), key=lambda name: bills["naive"][name]["total"])
    assert bills["bestNaive"] == (cheapest if n else None)
    sure = [max(share) >= 0.7 for share in shares]
    hits = [bool(true == label) for true, label, is_sure in zip(truth, labels, sure, strict=True) if is_sure]
    accuracy = sum(hits) / len(hits) if hits else None
    kept = {"minConfidence": 0.7, "rows": len(hits), "rowsWithoutForecast": n - len(hits), "accuracy": accuracy}
    assert report["confident"] == kept


def test_rows_with_an_origin_are_counted_as_well() -> None:
    truth, labels, shares = rows_of(7, 40)
    begin = datetime(2016, 6, 1)
    rows = pa.table(
        {
            schema.SERVER: ["10.0.0.1"] * 40,
            schema.HOUR: pa.array([begin + timedelta(hours=hour) for hour in range(1, 41)], schema.TIMESTAMP),
            schema.FORECAST_ORIGIN: pa.array([begin] * 40, schema.TIMESTAMP),
            schema.OBSERVED: [hour % 5 > 0 for hour in range(40)],
            schema.LABEL: pa.array(truth, pa.int32()),
            **{name: pa.array([1] * 40, pa.int32()) for name in NAIVE_COLUMNS},
        }
    )
    rule = DecisionRule(MATRIX, 0.6)
    tally = HorizonTally(begin + timedelta(hours=21), rule)
    tally.add(rows, labels, shares)
    hours = np.arange(40)
    for part, of_part in zip(tally.parts(), (hours < 20, hours >= 20), strict=True):
        kept = of_part & (hours % 5 > 0)
        wanted = DecisionTally.of(rule, truth[kept], labels[kept], shares[kept])
        assert part.decisions.as_json() == wanted.as_json()
        assert part.decisions.decided.sum() == 16


def test_metrics_say_nothing_new_where_nothing_is_configured() -> None:
    plain = evaluate(no_tally(), no_tally())
    assert plain == evaluate(no_tally(), no_tally(), UNDECIDED)
    assert not {"costs", "confident"} & plain["test"].keys()
    assert UNDECIDED.is_empty
    empty = DecisionTally.of(UNDECIDED, *rows_of(1, 9))
    assert not empty.decided.any()
    assert not empty.confident.any()


def metrics_with(rule: DecisionRule) -> Metrics:
    """metrics.json of 50 rows, read back."""
    truth, labels, shares = rows_of(3, 50)
    matrix = np.zeros((3, 4), dtype=np.int64)
    np.add.at(matrix, (truth - 1, labels), 1)
    counts = dict.fromkeys(no_tally().confusion, matrix)
    made = DecisionTally.of(rule, truth, labels, shares)
    part = PartTally(counts, 1.0, no_tally().calibration, decisions=made)
    return Metrics.parse(Metrics.of(evaluate(part, part, rule)).encoded(), "metrics.json")


def test_metrics_keep_bills_and_give_them_as_numbers() -> None:
    metrics = metrics_with(DecisionRule(MATRIX, 0.8))
    numbers = metrics.numbers()
    assert metrics.test.costs is not None
    assert metrics.test.confident is not None
    assert numbers["test/costs/decision/total"] == metrics.test.costs.decision.total
    assert numbers["train/costs/naive/mostFrequent/perRow"] == metrics.train.costs.naive["mostFrequent"].per_row
    assert numbers["test/model/confident/rowsWithoutForecast"] == metrics.test.confident.rows_without_forecast > 0
    assert not any("costs" in name or "confident" in name for name in metrics_with(UNDECIDED).numbers())
    assert Metrics.from_document(made_up_metrics()).test.costs is None


def test_training_says_what_forecasts_have_cost() -> None:
    part = metrics_with(DecisionRule(MATRIX, 0.8)).test
    assert part.costs is not None
    lines = decision_lines(part)
    assert lines[0] == "What the forecasts of these 50 hours have cost:"
    assert lines[1].split() == [
        *(f"{part.costs.decision.total:.4g}", f"{part.costs.decision.per_row:.4g}"),
        *("an", "hour", "the", "class", "of", "least", "expected", "cost"),
    ]
    assert "the likeliest class" in lines[2]
    assert "the cheapest naive forecast: " in lines[3]
    assert lines[4].startswith("With minConfidence 0.8, ")
    assert "of these 50 hours have no forecast; accuracy of the others: 0." in lines[4]
    assert decision_lines(metrics_with(UNDECIDED).test) == []
    Console().print(*lines)


# --- the configuration ----------------------------------------------------------------------------------------------


def test_costs_are_named_or_a_matrix_and_are_kept_in_one_form() -> None:
    for given_as in (BY_NAME, [list(row) for row in MATRIX]):
        settings = parse_settings({**PLAIN, "costs": given_as, "minConfidence": 0})
        assert (settings.costs, settings.min_confidence) == (MATRIX, 0.0)
        document = settings.document()
        assert document["costs"]["high"] == {"low": 10.0, "medium": 4.0, "high": 0.5}
        assert parse_settings(json.loads(json.dumps(document))) == settings
    assert not {"costs", "minConfidence"} & parse_settings(PLAIN).document().keys()


def changed(true: str, **changes: Any) -> dict[str, Any]:
    return {**BY_NAME, true: {**BY_NAME[true], **changes}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "wanted of low, medium and high, as the true class, what"),
        ([], "or a 3 × 3 matrix, a row for each true class"),
        ([[0, 1, 2]] * 2, "or a 3 × 3 matrix"),
        ("costs", "or a 3 × 3 matrix"),
        (7, "or a 3 × 3 matrix"),
        ({**BY_NAME, "huge": {}}, "wanted of low, medium and high"),
        ({**BY_NAME, "low": None}, "wanted of the true class low the cost of each other class as its forecast"),
        ({**BY_NAME, "low": [0, 1, 2]}, "wanted of the true class low the cost"),
        ({**BY_NAME, "high": {"low": 1}}, "wanted of the true class high the cost"),
        (changed("high", huge=1), "wanted of the true class high the cost"),
        ([[0, 1, 1], [0, 1], [0, 1, 1]], "wanted of the true class medium the cost"),
        (changed("high", low=-1), "wanted a number from 0 to 1e+15 as the cost of low as the forecast of high"),
        (changed("low", high="2"), "as the cost of high as the forecast of low"),
        (changed("low", high=True), "as the cost of high as the forecast of low"),
        (changed("low", high=float("nan")), "as the cost of high as the forecast of low"),
        (changed("low", high=float("inf")), "as the cost of high as the forecast of low"),
        (changed("low", high=10**400), "as the cost of high as the forecast of low"),
        (changed("low", high=None), "as the cost of high as the forecast of low"),
    ],
)
def test_costs_that_cannot_be_are_a_fault(value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings({**PLAIN, "costs": value})
    assert "\n  costs: found " in str(caught.value)
    assert said in str(caught.value)
    with pytest.raises(ArtefactError, match="info cannot be read: "):
        Info.parse(json.dumps(made_up_info(formatVersion=3, costs=value)).encode(), "info")


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, float("nan"), [0.5]])
def test_a_confidence_that_cannot_be_is_a_fault(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"minConfidence: found .*, wanted"):
        parse_settings({**PLAIN, "minConfidence": value})


def test_info_keeps_the_rule() -> None:
    info = Info.parse(json.dumps(made_up_info(costs=BY_NAME, minConfidence=0.6)).encode(), "info")
    assert info.decision_rule == DecisionRule(MATRIX, 0.6)
    assert Info.from_document(json.loads(info.encoded())) == info
    assert Info.from_document(made_up_info()).decision_rule is not None
    assert Info.from_document(made_up_info()).decision_rule.is_empty
