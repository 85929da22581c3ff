"""Tuning: folds are those of a backtest, trials of different sets are scored on the same rows, ties are called ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import refits
import toymodel
import tunings
from loadcast import schema
from loadcast.artefacts.tuning import Tuning
from loadcast.kernels.backtest.bootstrap import DRAWS, SEED
from loadcast.kernels.backtest.tally import ANSWERS, FoldTally
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.grid import hours_of
from loadcast.kernels.tuning.differences import Difference, accuracy_gains, loss_gains
from loadcast.kernels.tuning.plan import BASE
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.models.model import Model
from loadcast.models.registry import OneByOne
from loadcast.refit import Refit, _simulation, score_refit, score_variants
from loadcast.settings import Settings
from loadcast.tuning.result import Found

HOURLY = refits.fleet()
LOADS = refits.loads(HOURLY)
REFITS = {name: refits.newest_refit(refits.make_settings(featureSet=name)) for name in ("direct", "extended")}


def fit_rows(matrix: Any, labels: Any, settings: Settings) -> Model:
    """A model that the settings change: the first rows alone count."""
    number = 10 * settings.boosted.num_rounds
    return toymodel.fit_rows(matrix[:number], labels[:number], settings)


FIT = OneByOne(fit_rows)


def variants(refit: Refit, *rounds: int) -> list[Settings]:
    boosted = [refit.settings.boosted.model_copy(update={"num_rounds": number}) for number in rounds]
    return [refit.settings.model_copy(update={"boosted": own}) for own in boosted]


# --- folds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["direct", "extended"])
def test_trials_together_are_each_a_refit_of_its_own(name: str) -> None:
    refit = REFITS[name]
    together = score_variants(refit, LOADS, FIT, variants(refit, 5, 40))
    alone = [
        score_refit(Refit(refit.fold, own, refit.rules), LOADS, fit_rows).as_json()
        for own in variants(refit, 5, 40)
    ]  # fmt: skip
    assert [tally.as_json() for tally in together] == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize("name", ["direct", "extended"])
def test_nothing_after_a_fold_changes_its_trials(name: str) -> None:
    refit = REFITS[name]
    other = refits.loads(refits.changed_from(HOURLY, refit.fold.end_hour), refits.BEGIN.replace(day=24))
    for every in (False, True):
        one, two = (
            score_variants(refit, loads, FIT, variants(refit, 5, 40), every_forecast=every) for loads in (LOADS, other)
        )
        assert [tally.as_json() for tally in one] == [tally.as_json() for tally in two]


def test_trials_of_both_sets_are_scored_on_the_same_rows() -> None:
    wide = {name: refits.newest_refit(refits.make_settings(featureSet=name), 5) for name in REFITS}
    direct, extended = (
        score_variants(wide[name], LOADS, OneByOne(toymodel.fit_rows), [wide[name].settings], every_forecast=True)[0]
        for name in ("direct", "extended")
    )
    assert direct.servers == extended.servers
    assert np.array_equal(direct.by_server[0].sum(axis=-1), extended.by_server[0].sum(axis=-1))  # by true class
    assert direct.confusion[0].sum() > 4 * score_refit(wide["extended"], LOADS, toymodel.fit_rows).confusion[0].sum()


def test_an_hour_counts_as_often_as_it_is_forecast() -> None:
    refit = refits.newest_refit(refits.make_settings(featureSet="extended", originEveryHours=5), 5)
    simulation = _simulation(refit, LOADS.before(refit.fold.split_hour))
    begin, end = refit.fold.split_hour, refit.fold.end_hour
    hours = np.arange(begin, end)
    rows = pa.table({schema.HOUR: pa.array(hours * 3_600_000_000, pa.timestamp("us"))})
    assert np.array_equal(hours_of(rows.column(schema.HOUR)), hours)
    origins = [origin for origin in range(begin - 1, end, 5) if origin + schema.HORIZON_HOURS < end]
    often = [sum(origin < hour <= origin + schema.HORIZON_HOURS for origin in origins) for hour in hours.tolist()]
    assert simulation.times_forecast(rows).tolist() == often


def test_a_trial_s_sums_are_those_of_its_fold() -> None:
    tally = score_refit(REFITS["direct"], LOADS, toymodel.fit_rows)
    servers = ("0", *tally.servers, "9")
    kept = TrialTally.of(tally, servers)
    assert kept.accuracy == pytest.approx(np.trace(tally.confusion[0]) / tally.confusion[0].sum())
    assert kept.loss == pytest.approx(tally.loss)
    assert kept.rows.tolist()[0] == kept.rows.tolist()[-1] == 0
    assert TrialTally.from_json(kept.as_json(), len(servers)).as_json() == kept.as_json()
    reordered = FoldTally.from_json(tally.as_json()).plus(nothing())
    assert TrialTally.of(reordered, servers).as_json() == kept.as_json()


def nothing() -> FoldTally:
    counts = [np.zeros((len(ANSWERS), number, 3, 3), np.int64) for number in (0, 49)]
    return FoldTally((), counts[0], counts[1], np.zeros(0), Calibration.none(), 0)


# --- how surely trials differ -----------------------------------------------------------------------------------------


def test_intervals_are_of_servers_drawn_anew_and_of_the_largest_deviation_of_all_trials() -> None:
    base, *others = (tunings.tally((trial, 1)) for trial in range(6))
    found = loss_gains(base, others)
    random, n = np.random.default_rng(SEED), tunings.SERVERS
    times = random.multinomial(n, [1 / n] * n, size=DRAWS)
    drawn = np.array([[(w @ (base.losses - one.losses)) / (w @ base.rows) for one in others] for w in times])
    means = np.array([base.log_loss - one.log_loss for one in others])
    largest = np.abs((drawn - means) / drawn.std(axis=0)).max(axis=1)
    reach = np.quantile(largest, 0.95) * drawn.std(axis=0)
    assert [one.gain for one in found] == pytest.approx(means.tolist())
    assert [one.low for one in found] == pytest.approx((means - reach).tolist())
    assert [one.high for one in found] == pytest.approx((means + reach).tolist())


def test_among_more_trials_intervals_are_wider() -> None:
    base, *others = (tunings.tally((trial, 1)) for trial in range(40))
    alone, together = loss_gains(base, others[:1])[0], loss_gains(base, others)[0]
    assert alone.gain == together.gain
    assert width(together) > 1.2 * width(alone)


def width(difference: Difference) -> float:
    assert difference.low is not None
    assert difference.high is not None
    return difference.high - difference.low


def test_of_many_trials_without_a_difference_hardly_ever_one_seems_better() -> None:
    random, seeming = np.random.default_rng(4), 0
    for _ in range(40):
        base, *others = (noise(random) for _ in range(20))
        seeming += any(one.verdict != "tie" for one in loss_gains(base, others))
    assert seeming <= 6  # 20 lone intervals each would have been wrong in most of these 40


def noise(random: np.random.Generator) -> TrialTally:
    made = tunings.tally((0, 1), 30)
    losses = made.rows * (0.6 + random.normal(0, 0.1, 30))
    return TrialTally(made.rows, made.hits, losses, made.confusion, made.calibration, 1)


def test_a_gain_on_every_server_is_better_and_the_same_is_a_tie() -> None:
    base = tunings.tally((0, 1))
    better = TrialTally(base.rows, base.hits, base.losses * 0.9, base.confusion, base.calibration, 1)
    worse = TrialTally(base.rows, base.hits, base.losses * 1.1, base.confusion, base.calibration, 1)
    assert [one.verdict for one in loss_gains(base, [better, base, worse])] == ["better", "tie", "worse"]
    assert {one.gain for one in accuracy_gains(base, [better, base])} == {0.0}
    assert loss_gains(base, []) == []


def test_of_one_server_nothing_is_known() -> None:
    base, other = tunings.tally((0, 1), 1), tunings.tally((1, 1), 1)
    assert loss_gains(base, [other])[0].verdict == "unknown"


# --- what is recommended ----------------------------------------------------------------------------------------------


def found(*saved: tuple[float, float, float], accuracy: int = 0, seeds: float = 0.0) -> dict[str, Any]:
    """The table of trials that all save so much on each fold over a configuration; they win so many hits a server.

    Another seed saves or costs `seeds` on each fold.
    """
    trials = tunings.SPACE.trials(3 + len(saved))
    tallies = {}
    for fold in (1, 2, 3):
        base = tallies[BASE, fold] = tunings.tally((0, fold))
        by_seed = ((1, seeds, 0), (2, -seeds, 0))
        for number, gain, hits in (*by_seed, *((3 + at, gains[fold - 1], accuracy) for at, gains in enumerate(saved))):
            losses = base.losses - base.rows * gain
            tallies[number, fold] = TrialTally(base.rows, base.hits + hits, losses, base.confusion, base.calibration, 1)
    return Found(tunings.SPACE, trials, tunings.PLAN, tunings.schedule(trials), tallies).document(len(trials))


def test_the_best_of_those_that_are_surely_better_is_recommended() -> None:
    document = found(*((gain, gain, gain) for gain in (0.01, 0.02, -0.01, -0.02, -0.03)))  # the last two are given up
    assert document["recommended"] == 4
    assert [trial["number"] for trial in document["trials"]] == [4, 3, 0, 1, 2, 5, 6, 7]
    verdicts = [trial["gains"] and trial["gains"]["logLoss"]["verdict"] for trial in document["trials"]]
    assert verdicts == ["better", "better", None, None, None, "worse", None, None]


def test_what_is_better_on_one_fold_alone_or_costs_accuracy_is_not_recommended() -> None:
    assert found((0.2, -0.01, -0.01))["trials"][0]["gains"]["logLoss"]["verdict"] == "better"
    assert found((0.2, -0.01, -0.01))["recommended"] is None
    assert found((0.2, 0.01, -0.01))["recommended"] == 3
    assert found((0.02, 0.02, 0.02), accuracy=-3)["recommended"] is None


def test_what_another_seed_makes_is_no_gain() -> None:
    assert found((0.01, 0.01, 0.01), seeds=0.001)["recommended"] == 3
    document = found((0.01, 0.01, 0.01), seeds=0.02)
    assert document["trials"][0]["changes"] == {"boosted": {"seed": 43}}
    assert document["recommended"] is None
    [gain] = [trial["gains"]["logLoss"] for trial in document["trials"] if trial["gains"]]
    # Each fold's seeds vary by 0.02² a row; a difference is of two, and its mean of three folds of about as many rows.
    assert (gain["high"] - gain["low"]) / 2 == pytest.approx(1.96 * 0.02 * (2 / 3) ** 0.5, rel=1e-3)
    assert gain["verdict"] == "tie"


def test_a_tie_leaves_the_configuration_as_it_is() -> None:
    document = tunings.whole(None, tunings.SPACE.trials(10))
    assert {trial["gains"]["logLoss"]["verdict"] for trial in document["trials"] if trial["gains"]} == {"tie"}
    assert document["recommended"] is None


def test_tuning_json_is_read_as_it_was_written() -> None:
    about = {"run": "r", "featureSet": "direct", "model": "boosted", "labelRule": "absolute", "originEveryHours": 6}
    period = {"stepDays": 7, "trainBegin": "2016-05-01 00:00:00", "testSplitStart": "2016-06-01 00:00:00"}
    made = Tuning.of({**about, **period, **found((0.02, 0.02, 0.02))})
    assert Tuning.parse(made.encoded(), "tuning.json").encoded() == made.encoded()
    numbers = made.numbers()
    assert numbers["chosen/logLoss"] == pytest.approx(numbers["base/logLoss"] - 0.02)
    assert numbers["tried/complete"] == 4
