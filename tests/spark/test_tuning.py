"""A tuning on Spark: its trials are what one process makes of them, and a second call goes on where the first was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import refits
import runs
import toymodel
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.tuning.plan import Schedule
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.models import registry
from loadcast.pipeline.run import run_tuning
from loadcast.refit import Refit, score_variants
from loadcast.tuning.plan import TuningPlan
from loadcast.tuning.result import Found
from loadcast.tuning.space import SearchSpace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_trials_side_by_side_are_those_of_one_process(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_OWN", (*registry._OWN, toymodel.FAMILY))
    hourly, settings = refits.fleet(), refits.make_settings(tmp_path / "output")
    refits.publish(tmp_path / "output", hourly)
    journal, loads = tmp_path / "tune.jsonl", refits.loads(hourly)
    space, folds = SearchSpace.of(settings), folds_before(settings.split, 2, 2)
    trials = space.trials(2)
    tallies = {
        (trial.number, fold.number): TrialTally.of(tally, loads.servers)
        for trial in trials
        for fold in folds
        for refit in [Refit.of(trial.settings, fold)]
        for tally in score_variants(
            refit, loads, registry.OneByOne(toymodel.fit_rows), [refit.settings], every_forecast=True
        )
    }
    found = run_tuning(settings, TuningPlan(2, 2, 9), journal=journal, options=runs.OPTIONS)
    schedule = Schedule([trial.settings.feature_set for trial in trials], 2, space.controls)
    wanted = Found(space, trials, folds, schedule, tallies).document(9)  # of one other set, the better half is that set
    document = found.document()
    assert {key: document[key] for key in wanted} == wanted
    monkeypatch.setattr("loadcast.pipeline.tune.create_session", None)  # nothing is left to do
    again = run_tuning(settings, TuningPlan(2, 2, 9), journal=journal, options=runs.OPTIONS)
    assert again.encoded() == found.encoded()
