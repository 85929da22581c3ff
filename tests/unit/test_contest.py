"""Whether a new model loses against the last good one: what is summed, how sure it is, and what follows."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadcast import schema
from loadcast.artefacts.contest import Contest
from loadcast.kernels.backtest.contest import ContestTally, contest_report

BEGIN = datetime(2016, 6, 1)


def shares_of(labels: np.ndarray, sure: float) -> np.ndarray:
    shares = np.full((len(labels), 3), (1 - sure) / 2)
    shares[np.arange(len(labels)), labels - 1] = sure
    return shares


def tally(servers: int, days: int, right: tuple[float, float], sure: tuple[float, float] = (0.8, 0.8)) -> ContestTally:
    """Of made-up forecasts of which the challenger's and the champion's shares of hits are `right`."""
    random, n = np.random.default_rng(3), servers * days * 24
    truth = random.integers(1, 4, n)
    hours = [BEGIN + timedelta(hours=hour) for hour in range(days * 24)] * servers
    names = np.repeat([f"10.0.0.{server}" for server in range(servers)], days * 24)
    rows = pa.table({schema.SERVER: names, schema.HOUR: pa.array(hours, pa.timestamp("us")), schema.LABEL: truth})
    said = [np.where(random.random(n) < share, truth, truth % 3 + 1) for share in right]
    answers = [(labels, shares_of(labels, one)) for labels, one in zip(said, sure, strict=True)]
    return ContestTally.of(rows, *answers)


@pytest.mark.parametrize(
    ("right", "sure", "verdict"),
    [
        ((0.8, 0.8), (0.8, 0.8), "tie"),
        # Sure, and too little to matter.
        ((0.8, 0.8), (0.803, 0.8), "tie"),
        ((0.6, 0.8), (0.8, 0.8), "worse"),
        ((0.8, 0.6), (0.8, 0.8), "better"),
        # As often right, but far too sure of itself.
        ((0.8, 0.8), (0.999, 0.8), "worse"),
        # More often right, and the worse for it: probabilities count as well.
        ((0.85, 0.8), (0.999, 0.8), "worse"),
    ],
)
@pytest.mark.parametrize(("servers", "days"), [(30, 4), (1, 30)])
def test_a_model_loses_where_one_difference_is_clearly_bad(
    servers: int, days: int, right: Any, sure: Any, verdict: str
) -> None:
    report = contest_report(tally(servers, days, right, sure))
    assert report["verdict"] == verdict
    assert (report["rows"], report["servers"], report["days"]) == (servers * days * 24, servers, days)
    assert (report["unit"], report["warning"]) == ("servers" if servers > 1 else "days", None)


def test_the_scores_are_those_of_the_rows() -> None:
    truth, said = np.array([1, 2, 3, 3]), (np.array([1, 2, 1, 3]), np.array([2, 2, 1, 3]))
    rows = pa.table({schema.SERVER: ["a", "a", "b", "b"], schema.HOUR: [BEGIN] * 4, schema.LABEL: truth})
    report = contest_report(ContestTally.of(rows, *((labels, shares_of(labels, 0.5)) for labels in said)))
    measured = report["accuracy"]
    assert (measured["challenger"], measured["champion"], measured["difference"]) == (0.75, 0.5, 0.25)
    loss = -(3 * math.log(0.5) + math.log(0.25)) / 4
    assert report["logLoss"]["challenger"] == pytest.approx(loss)
    assert report["warning"] == "The intervals are of 2 servers alone: with fewer than 10 they are too narrow."
    # A server of which both say the same is drawn alone as well.
    assert (measured["low"], measured["high"]) == (0.0, 0.5)


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(2, 5), st.floats(0.4, 0.9), st.floats(0.4, 0.9))
def test_who_is_better_the_other_way_round_is_worse(servers: int, days: int, one: float, other: float) -> None:
    counted = tally(servers, days, (one, other))
    swapped = ContestTally(
        *({name: (n, b, a, y, x) for name, (n, a, b, x, y) in sums.items()} for sums in (counted.servers, counted.days))
    )
    found, back = contest_report(counted), contest_report(swapped)
    for measure in ("accuracy", "logLoss"):
        assert found[measure]["difference"] == pytest.approx(-back[measure]["difference"], abs=1e-12)
        assert found[measure]["low"] == pytest.approx(-back[measure]["high"], abs=1e-9)
    # Never are both worse without either being better at something, and never are both better.
    assert not found["verdict"] == back["verdict"] == "better"
    right, loss = found["accuracy"], found["logLoss"]
    lost = (right["high"] < 0 and right["difference"] < -0.005) or (loss["low"] > 0 and loss["difference"] > 0.01)
    assert (found["verdict"] == "worse") == lost


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=60, max_size=60), st.integers(1, 4))
def test_neither_the_cutting_of_rows_into_files_nor_json_shows(parts: list[int], servers: int) -> None:
    truth = np.array([one % 3 + 1 for one in parts])
    hours = [BEGIN + timedelta(hours=7 * at) for at in range(60)]
    names = [f"s{at % servers}" for at in range(60)]
    rows = pa.table({schema.SERVER: names, schema.HOUR: hours, schema.LABEL: truth})
    said = np.array([1, 2, 3] * 20)
    # Halves add up without rounding.
    answers = [(said, shares_of(said, 0.5)), (truth, shares_of(truth, 0.5))]
    whole, together = ContestTally.of(rows, *answers), ContestTally.none()
    for part in range(4):
        chosen = np.array(parts) == part
        piece = ContestTally.of(rows.filter(pa.array(chosen)), *((a[chosen], b[chosen]) for a, b in answers))
        together = together.plus(ContestTally.from_json(json.loads(json.dumps(piece.as_json()))))
    for one, other in ((whole.servers, together.servers), (whole.days, together.days)):
        assert one.keys() == other.keys()
        assert all(other[name] == pytest.approx(sums) for name, sums in one.items())


def test_the_report_is_a_part_of_a_result_and_says_it_in_lines() -> None:
    result = Contest.model_validate({"champion": "run", **contest_report(tally(12, 3, (0.6, 0.8)))})
    assert set(result.numbers()) == {
        f"contest/{measure}/{key}"
        for measure in ("accuracy", "logLoss")
        for key in ("challenger", "champion", "difference", "low", "high")
    }
    first, accuracy, loss = result.lines()
    assert first == "On 864 forecasts (12 servers, 3 days) that neither has learned from:"
    assert accuracy.startswith("  accuracy 0.6007, ")
    assert ", the last good model's 0." in loss
