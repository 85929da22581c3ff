"""A backtest on Spark: its folds are what one process makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import refits
import runs
import toymodel
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.backtest.summary import summary
from loadcast.models import registry
from loadcast.pipeline.run import run_backtest
from loadcast.refit import Refit, score_refit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_folds_side_by_side_are_those_of_one_process(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_OWN", (*registry._OWN, toymodel.FAMILY))
    hourly, settings = refits.fleet(), refits.make_settings(tmp_path / "output", featureSet="extended")
    refits.publish(tmp_path / "output", hourly)
    found = run_backtest(settings, folds=2, step_days=2, options=runs.OPTIONS)
    plan = folds_before(settings.split, 2, 2)
    tallies = [score_refit(Refit.of(settings, fold), refits.loads(hourly), toymodel.fit_rows) for fold in plan]
    document = found.document()
    assert {key: document[key] for key in summary(plan, tallies)} == summary(plan, tallies)
    assert (found.run, found.feature_set, found.model, found.step_days) == ("one", "extended", "toy", 2)
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == ["current", "runs"]
