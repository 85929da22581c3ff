"""The gate: against the same written another way; and nothing younger than the origin, ever."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate_by_hand import Case, Row
from loadcast.kernels.gate import RULE, Gate, GateRule, choices_of_servers, gate_at, gated, prior_tables
from loadcast.kernels.gated_scores import Evidence, Outcomes, ServerRecords, gated_report, let_through
from loadcast.kernels.verified import Verified

FIRST = 1_000
PRIOR = prior_tables(np.array([[[5, 1, 0], [2, 7, 1], [0, 1, 3]], [[9, 9, 9], [0, 0, 0], [1, 1, 1]]]))
SMALL = GateRule(
    window_h=6,
    margin=0.1,
    lately_h=2,
    server_window_h=8,
    server_margin=0.05,
    server_rows=3.0,
    table_h=5,
    prior_rows=4.0,
    weight_h=7,
    model_share=0.7,
)


def forecasts(seed: int) -> list[Row]:
    """Forecasts of 3 servers and 20 hours; those before FIRST are the naive forecasts' alone."""
    random = Random(seed)
    density, rows = random.choice((0.2, 0.6, 1.0)), []
    for hour in range(FIRST - 6, FIRST + 14):
        for server in range(3):
            if random.random() < density:
                said = (random.randint(1, 3) if hour >= FIRST else 0, random.randint(1, 3), random.randint(1, 3))
                origin, truth = hour - random.randint(1, 4), random.randint(1, 3)
                rows.append(Row(server, origin, hour, truth, said, random.choice((0.0, 0.2, 0.5, 1.0))))
    return rows


#: By a seed, as drawing each number takes hypothesis too long.
CASES = st.integers(0, 2**32 - 1).map(forecasts)


def verified(rows: list[Row]) -> Verified:
    """Their counts."""
    origins, hours, truth = (np.array([row[at] for row in rows], dtype=np.int64) for at in (1, 2, 3))
    said = np.array([row.said for row in rows], dtype=np.int64).reshape(-1, 3).T
    likelihood = np.array([row.likelihood for row in rows], dtype=np.float64)
    return Verified.of(origins, hours, truth, said, likelihood)


def choices(rows: list[Row], gate: Gate) -> np.ndarray:
    """What answers for 3 servers at the gate's origins, from sums row by row."""
    known = np.zeros((3, len(gate.origins)))
    more, lately = np.zeros((2, 3, len(gate.origins), 2))
    case = Case(rows, PRIOR.tolist(), FIRST, SMALL)
    for at, origin in enumerate(gate.origins.tolist()):
        for sums, window_h in ((more, SMALL.server_window_h), (lately, SMALL.window_h)):
            for row in case.known(origin, window_h):
                known[row.server, at] += window_h == SMALL.server_window_h
                for naive in (1, 2):
                    better = int(row.said[naive] == row.truth) - int(row.said[0] == row.truth)
                    sums[row.server, at, naive - 1] += better
    return choices_of_servers(known, more, lately, gate, SMALL)


@given(CASES)
def test_the_gate_does_what_its_page_says(rows: list[Row]) -> None:
    origins = np.arange(FIRST - 4, FIRST + 15)
    gate = gate_at(origins, verified(rows), PRIOR, FIRST, SMALL)
    of_servers = choices(rows, gate)
    case = Case(rows, PRIOR.tolist(), FIRST, SMALL)
    for at, origin in enumerate(origins.tolist()):
        assert gate.chosen[at] == case.chosen(origin)
        assert of_servers[:, at].tolist() == [case.choice(origin, server) for server in range(3)]
        for naive in (1, 2):
            wanted = np.array([case.shares(origin, naive, said) for said in (1, 2, 3)]).T
            assert gate.tables[at, naive - 1] == pytest.approx(wanted)
        assert gate.weights[at] == pytest.approx(case.weights(origin))


@given(CASES, st.integers(FIRST - 2, FIRST + 12), st.integers(0, 2**32 - 1))
def test_nothing_younger_than_the_origin_decides(rows: list[Row], origin: int, seed: int) -> None:
    """All that is known later changes, and more comes: what answers at the origin stays, to the last bit."""
    random = Random(seed)
    later = [
        row._replace(truth=random.randint(1, 3), said=(random.randint(1, 3),) * 3, likelihood=random.random())
        if row.hour > origin
        else row
        for row in rows
    ]
    later += [Row(0, origin, origin + ahead, 1, (3, 1, 2), 0.1) for ahead in (1, 2, 30)]
    at = np.array([origin])
    before, after = (gate_at(at, verified(some), PRIOR, FIRST, SMALL) for some in (rows, later))
    for name in ("chosen", "leads", "tables", "weights"):
        assert getattr(before, name).tobytes() == getattr(after, name).tobytes()
    assert choices(rows, before).tolist() == choices(later, after).tolist()


@given(CASES, CASES)
def test_counts_of_files_add_up(some: list[Row], others: list[Row]) -> None:
    together = verified([*some, *others])
    added = verified(some).plus(Verified.from_json(verified(others).as_json(), 3))
    for name in ("origins", "hours", "counts"):
        assert getattr(together, name).tolist() == getattr(added, name).tolist()
    assert together.loss == pytest.approx(added.loss)


def outcomes(hours: int, truth: int, said: tuple[int, int, int], horizon: int = 48) -> Outcomes:
    """One server's forecasts, hour by hour from FIRST on, all alike; the model gives its class 0.8."""
    at = np.arange(FIRST, FIRST + hours)
    shares = np.full((hours, 3), 0.1)
    shares[:, said[0] - 1] = 0.8
    ones = np.ones(hours, dtype=np.int64)
    return Outcomes(0 * ones, at, at - horizon, truth * ones, np.repeat([said], hours, axis=0).T, shares)


def scored(rows: Outcomes) -> tuple[dict[str, object], list[int]]:
    """What comes through the gate: the report, and each hour's class."""
    evidence, records = Evidence(3), ServerRecords(1, (FIRST, FIRST + len(rows)), 3)
    evidence.add(rows)
    records.add(rows)
    gates = Evidence.from_json(evidence.as_json()).gates(PRIOR, FIRST)
    tally, labels = let_through(rows, gates, records.choices(gates))
    return gated_report(tally, ("model", "one", "two")), labels.tolist()


def test_a_naive_forecast_that_is_right_answers_once_enough_is_known() -> None:
    report, labels = scored(outcomes(120, truth=1, said=(3, 2, 1)))
    # The hour at whose origin half of the window is known: 12 hours, the last of them the origin itself.
    first = RULE.window_h // 2 - 1 + 48
    assert labels == [3] * first + [1] * (120 - first)
    assert report["answeredBy"] == {"model": first, "two": 120 - first}
    assert report["accuracy"] == pytest.approx((120 - first) / 120)


def test_near_hours_are_verified_and_gated_sooner() -> None:
    _, labels = scored(outcomes(60, truth=1, said=(3, 2, 1), horizon=2))
    assert labels.index(1) == RULE.window_h // 2 - 1 + 2


def test_a_model_that_is_right_answers() -> None:
    report, labels = scored(outcomes(120, truth=1, said=(1, 2, 3)))
    assert labels == [1] * 120
    assert report["shareOfNaive"] == 0.0


def test_before_anything_is_known_the_model_answers_and_naive_forecasts_have_a_say() -> None:
    rows = outcomes(1, truth=1, said=(1, 1, 1))
    gate = gate_at(rows.origins, Verified.none(3), PRIOR, FIRST)
    answers = gated(gate, np.array([0]), np.array([0]), rows.said, rows.probabilities)
    naive = (PRIOR[0, :, 0] + PRIOR[1, :, 0]) / 2
    assert answers.probabilities[0] == pytest.approx(0.8 * np.array([0.8, 0.1, 0.1]) + 0.2 * naive)


def test_probabilities_are_whole_whatever_the_model_called_impossible() -> None:
    rows = outcomes(100, truth=1, said=(3, 2, 1))
    rows.probabilities[:] = (0.0, 0.0, 1.0)
    report, _ = scored(rows)
    assert 0 < float(str(report["logLoss"])) < 5


def test_without_rows_nothing_is_known() -> None:
    report, labels = scored(outcomes(0, truth=1, said=(1, 1, 1)))
    assert (report["accuracy"], report["logLoss"], report["answeredBy"], labels) == (None, None, {}, [])
