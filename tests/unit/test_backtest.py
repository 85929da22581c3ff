"""Backtests: nothing of a fold knows what comes after it, and what is said of all folds follows from their counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import loadcast
import refits
import toymodel
from loadcast import schema
from loadcast.artefacts.backtest import Backtest
from loadcast.errors import InputError
from loadcast.kernels.backtest import bootstrap
from loadcast.kernels.backtest.bootstrap import accuracy, macro_f1, resampled
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.summary import summary
from loadcast.kernels.backtest.tally import ANSWERS, NAIVE, FoldTally
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.encode import encoded_table
from loadcast.kernels.grid import WORK_SLOTS, hours_of
from loadcast.kernels.scores import scores
from loadcast.kernels.vectors import dense_blocks
from loadcast.models.model import Model
from loadcast.pipeline.refitting import check_hours
from loadcast.refit import Refit, _simulation, score_refit, training_rows
from loadcast.settings import Settings

HOURLY = refits.fleet()
LOADS = refits.loads(HOURLY)
SETTINGS = refits.make_settings()
REFIT = refits.newest_refit(SETTINGS)


def counts(refit: Refit, loads: Loads) -> dict[str, object]:
    return score_refit(refit, loads, toymodel.fit_rows).as_json()


def learned_from(refit: Refit, loads: Loads) -> tuple[Any, Any]:
    """The matrix and labels that the model of a fold is fitted on."""
    seen: list[tuple[Any, Any]] = []

    def fit_rows(matrix: Any, labels: Any, settings: Settings) -> Model:
        seen.append((matrix.copy(), labels))
        return toymodel.fit_rows(matrix, labels, settings)

    score_refit(refit, loads, fit_rows)
    return seen[0]


# --- periods --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 50), st.integers(2, 60))
def test_folds_lie_one_before_the_other_and_end_at_the_split(number: int, step_days: int) -> None:
    split = datetime(2016, 6, 29)
    found = folds_before(split, number, step_days)
    assert [fold.number for fold in found] == list(range(1, number + 1))
    assert found[0].end == split
    assert all(later.split == earlier.end for later, earlier in pairwise(found))
    assert {fold.end - fold.split for fold in found} == {timedelta(days=step_days)}


@pytest.mark.parametrize(("number", "step_days"), [(0, 7), (4, 1)])
def test_a_fold_holds_a_whole_forecast(number: int, step_days: int) -> None:
    with pytest.raises(ValueError, match="wanted 1 fold or more of 2 days or more"):
        folds_before(datetime(2016, 6, 29), number, step_days)


# --- loads ----------------------------------------------------------------------------------------------------------


def test_loads_are_the_same_in_whatever_pieces_they_come() -> None:
    cut = len(HOURLY) // 3
    shuffled = HOURLY.take(pa.array(np.random.default_rng(1).permutation(len(HOURLY))))
    pieces = [shuffled.slice(cut), shuffled.slice(0, 0), shuffled.slice(0, cut)]
    assert same(Loads.of(pieces, refits.hour_of(refits.BEGIN), refits.hour_of(refits.SPLIT)), LOADS)
    assert len(LOADS) == sum(1 for row in known_rows(refits.SPLIT) if row[schema.OBSERVED])


def test_grids_hold_whole_servers_however_few_fit_together() -> None:
    together, alone = list(LOADS.grids()), list(LOADS.grids(1))
    assert [grid.servers for grid in alone] == [(server,) for server in LOADS.servers]
    assert len(together) == 1
    assert np.array_equal(np.concatenate([grid.peaks for grid in alone], axis=1), together[0].peaks)
    assert together[0].peaks.shape[1] < WORK_SLOTS


def test_before_an_hour_a_later_server_is_not_known() -> None:
    late = "10.9.9.9"
    later = HOURLY.filter(pa.compute.equal(HOURLY.column(schema.SERVER), LOADS.servers[1]))
    later = later.filter(pa.compute.greater(later.column(schema.HOUR), pa.scalar(REFIT.fold.split)))
    renamed = later.set_column(1, schema.SERVER, pa.array([late] * len(later)))
    both = refits.loads(pa.concat_tables([HOURLY, renamed]))
    assert late in both.servers
    assert same(both.before(REFIT.fold.split_hour), LOADS.before(REFIT.fold.split_hour))
    assert len(LOADS.before(0).servers) == len(list(LOADS.before(0).grids())) == 0


def same(one: Loads, two: Loads) -> bool:
    arrays = zip((one.codes, one.hours, one.peaks), (two.codes, two.hours, two.peaks), strict=True)
    return one.servers == two.servers and all(np.array_equal(mine, other) for mine, other in arrays)


def known_rows(until: datetime) -> list[dict[str, object]]:
    return [row for row in HOURLY.to_pylist() if row[schema.HOUR] < until]


# --- a fold ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["absolute", "quantile", "perServer"])
def test_nothing_from_the_fold_s_begin_on_changes_what_the_model_learns(rule: str) -> None:
    refit = refits.newest_refit(refits.make_settings(labelRule=rule))
    other = refits.loads(refits.changed_from(HOURLY, refit.fold.split_hour))
    assert not same(other, LOADS)
    matrix, labels = learned_from(refit, LOADS)
    other_matrix, other_labels = learned_from(refit, other)
    assert np.array_equal(matrix, other_matrix)
    assert np.array_equal(labels, other_labels)
    assert len(labels) > 200


def test_nothing_after_the_fold_changes_its_scores() -> None:
    refit = Refit.of(SETTINGS, folds_before(SETTINGS.split, 2, 2)[1])
    end = refit.fold.end_hour
    other = refits.loads(refits.changed_from(HOURLY, end))
    assert not same(other, LOADS)
    assert counts(refit, other) == counts(refit, LOADS) == counts(refit, LOADS.before(end))


def test_the_test_period_is_not_looked_at_and_results_are_the_same_again() -> None:
    changed = refits.changed_from(HOURLY, refits.hour_of(refits.SPLIT))
    assert counts(REFIT, refits.loads(changed)) == counts(REFIT, LOADS)


def test_rows_are_those_that_the_public_api_makes() -> None:
    known = LOADS.before(REFIT.fold.split_hour)
    encoders, matrix, labels = training_rows(_simulation(REFIT, known), known)
    hours = hours_of(HOURLY.column(schema.HOUR))
    table = loadcast.features(HOURLY.filter(pa.array(hours < REFIT.fold.end_hour)), REFIT.settings)
    table = table.filter(table.column(schema.OBSERVED))
    is_test = hours_of(table.column(schema.HOUR)) >= REFIT.fold.split_hour
    training = encoded_table(table.filter(pa.array(~is_test)), encoders)
    wanted = np.concatenate([*dense_blocks(training, encoders.vector)]).astype(np.float32)
    wanted = np.column_stack([training.column(schema.LABEL).to_numpy(), wanted])
    assert np.array_equal(ordered(np.column_stack([labels, matrix])), ordered(wanted))
    assert score_refit(REFIT, LOADS, toymodel.fit_rows).confusion[0].sum() == is_test.sum()


def ordered(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T)]


def test_where_nothing_was_known_before_a_fold_it_says_so() -> None:
    late = refits.loads(HOURLY.filter(pa.array(hours_of(HOURLY.column(schema.HOUR)) >= REFIT.fold.split_hour)))
    with pytest.raises(InputError, match="Found no observed hour before 2016-06-20"):
        counts(REFIT, late)


def test_a_fold_without_hours_is_told_before_any_is_fitted() -> None:
    """And not once an hour's work on the others is done."""
    hourly, folds = refits.fleet(), folds_before(refits.SPLIT, 3, 4)
    check_hours(folds, refits.loads(hourly))
    hours = hourly.column(schema.HOUR)

    def without(begin: datetime, end: datetime) -> Loads:
        return refits.loads(hourly.filter(pc.or_(pc.less(hours, begin), pc.greater_equal(hours, end))))

    with pytest.raises(InputError, match=f"from {folds[1].split} to {folds[1].end}, wanted some to score the fold by"):
        check_hours(folds, without(folds[1].split, folds[1].end))
    with pytest.raises(InputError, match=f"Found no observed hour before {folds[2].split}, wanted some to fit"):
        check_hours(folds, without(refits.BEGIN, folds[2].split))


def test_what_travels_to_a_task_leads_to_no_storage() -> None:
    settings = refits.make_settings(storageKey="env:THE_KEY", dataFile="https://a.blob.core.windows.net/c/x?sig=secret")
    own = refits.newest_refit(settings).settings
    assert "THE_KEY" not in own.model_dump_json()
    assert "secret" not in own.model_dump_json()


# --- all folds together ---------------------------------------------------------------------------------------------


@given(arrays.arrays(np.int64, (4, 3, 3), elements=st.integers(0, 50)))
def test_measures_are_those_of_metrics_json(confusion: np.ndarray) -> None:
    confusion[:, 0, 0] += 1
    wanted = [scores(one) for one in confusion]
    assert accuracy(confusion) == pytest.approx([one["accuracy"] for one in wanted])
    assert macro_f1(confusion) == pytest.approx([one["macroF1"] for one in wanted])


def test_servers_are_drawn_anew_with_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    by_server = np.random.default_rng(3).integers(0, 99, (2, 7, 3, 3))
    found = resampled(by_server, draws=50, seed=5)
    random = np.random.default_rng(5)
    for sums in found:
        times = random.multinomial(7, [1 / 7] * 7)
        drawn = np.repeat(np.arange(7), times)
        assert np.array_equal(sums, sum(by_server[:, server] for server in drawn.tolist()))
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 20)
    assert np.array_equal(resampled(by_server, draws=50, seed=5), found)


def tally_of(right: list[int], naive_right: list[int], rows: int = 100) -> FoldTally:
    """A tally in which the model, and every naive forecast, is right so often, of servers with so many rows."""
    by_server = np.zeros((len(ANSWERS), len(right), 3, 3), dtype=np.int64)
    for server, hits in enumerate(zip(right, naive_right, strict=True)):
        for answer in range(len(ANSWERS)):
            number = hits[min(answer, 1)]
            by_server[answer, server, 0, 0], by_server[answer, server, 1, 0] = number, rows - number
    horizons = np.zeros((len(ANSWERS), 49, 3, 3), dtype=np.int64)
    horizons[:, 7] = by_server.sum(axis=1)
    truth, halves = np.ones(4, dtype=np.intp), np.full((4, 3), 1 / 3)
    names = tuple(f"10.0.0.{server}" for server in range(len(right)))
    return FoldTally(names, by_server, horizons, np.full(len(right), 1.5), Calibration.of(truth, truth, halves), 1000)


def said(tally: FoldTally) -> Backtest:
    about = {"run": "r", "featureSet": "direct", "model": "toy", "labelRule": "absolute", "originEveryHours": 6}
    period = {"stepDays": 7, "trainBegin": "2016-05-01 00:00:00", "testSplitStart": "2016-06-01 00:00:00"}
    numbers = summary(folds_before(datetime(2016, 6, 1), 1, 7), [tally])
    return Backtest.of({**about, **period, **numbers})


def test_a_lift_on_every_server_is_better_and_one_on_half_of_them_a_tie() -> None:
    steady = said(tally_of([80] * 12, [70] * 12)).lift.accuracy
    assert (steady.verdict, steady.lift, steady.low) == ("better", pytest.approx(0.1), pytest.approx(0.1))
    assert said(tally_of([70] * 12, [80] * 12)).lift.accuracy.verdict == "worse"
    tie = said(tally_of([80, 62] * 6, [70] * 12)).lift.accuracy
    assert tie.verdict == "tie"
    assert tie.low is not None
    assert tie.high is not None
    assert tie.low < 0 < tie.lift < tie.high


def test_of_one_server_no_interval_is_known_and_of_few_a_warning_is_said() -> None:
    alone = said(tally_of([80], [70]))
    assert (alone.lift.accuracy.verdict, alone.lift.accuracy.low) == ("unknown", None)
    assert "one server only" in str(alone.warning)
    assert "of 3 servers alone" in str(said(tally_of([80] * 3, [70] * 3)).warning)
    assert said(tally_of([80] * 10, [70] * 10)).warning is None


def test_each_server_stands_against_its_own_best_naive_forecast() -> None:
    servers = said(tally_of([80, 69, 60, 70], [70] * 4)).servers
    assert [server.server for server in servers.listed] == ["10.0.0.2", "10.0.0.1", "10.0.0.3", "10.0.0.0"]
    assert (servers.number, servers.below, servers.clearly_below, servers.clearly_below_share) == (4, 2, 1, 0.25)
    assert servers.median_lift == pytest.approx(-0.005)
    assert servers.median_lift_of_below == pytest.approx(-0.055)


def with_best(answer: str, tally: FoldTally) -> FoldTally:
    """The tally, but that this naive forecast is always right, on all servers."""
    by_server = tally.by_server.copy()
    by_server[ANSWERS.index(answer), :, 0, 0], by_server[ANSWERS.index(answer), :, 1, 0] = 100, 0
    return replace(tally, by_server=by_server)


def test_a_server_stands_against_the_naive_forecast_that_was_its_best_before() -> None:
    plan = folds_before(datetime(2016, 6, 1), 3, 7)
    oldest = with_best(NAIVE[2], tally_of([50], [0]))  # on which a new server's naive forecast is chosen, too
    middle = with_best(NAIVE[1], tally_of([60, 60], [55, 65]))
    newest = with_best(NAIVE[3], tally_of([60, 60], [50, 70]))
    numbers = summary(plan, [newest, middle, oldest])["servers"]
    # 10.0.0.0: NAIVE[2] on both, 55 and 50 of 100. 10.0.0.1: NAIVE[2] as all, 65; then NAIVE[1], its best there, 70.
    assert numbers["chosenBefore"] == {
        "folds": 2,
        "number": 2,
        "below": 1,
        "clearlyBelow": 1,
        "clearlyBelowShare": 0.5,
        "medianLift": pytest.approx(0.0),
        "medianLiftOfBelow": pytest.approx(-0.075),
    }
    assert numbers["clearlyBelow"] == 2  # in hindsight one of them was always right on a fold
    assert summary(plan[:1], [newest])["servers"]["chosenBefore"] is None


def test_folds_come_in_the_order_of_time_and_add_up() -> None:
    plan = folds_before(datetime(2016, 6, 1), 2, 7)
    numbers = summary(plan, [tally_of([80, 70], [70, 70]), tally_of([60], [50])])
    assert [fold["testBegin"] for fold in numbers["folds"]] == ["2016-05-18 00:00:00", "2016-05-25 00:00:00"]
    assert [fold["accuracy"] for fold in numbers["folds"]] == [0.6, 0.75]
    assert numbers["total"]["accuracy"] == pytest.approx(0.7)
    assert [one["horizonHours"] for one in numbers["byHorizon"]] == [7]
    assert {server["rows"] for server in numbers["servers"]["listed"]} == {100, 200}


def test_tallies_and_backtests_are_read_as_they_were_written() -> None:
    tally = score_refit(REFIT, LOADS, toymodel.fit_rows)
    assert FoldTally.from_json(tally.as_json()).as_json() == tally.as_json()
    written = said(tally).encoded()
    assert Backtest.parse(written, "backtest.json").encoded() == written
