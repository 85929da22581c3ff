"""Backtests: the model refitted as of earlier times, each scored on the days after; nothing is published."""

from __future__ import annotations

from loadcast.artefacts.backtest import Backtest
from loadcast.kernels.backtest.summary import summary
from loadcast.models.registry import family_named, fit_variants_of
from loadcast.pipeline.refitting import about, check_hours, check_scored, known_hours, refits_of
from loadcast.progress import Progress, logged_run
from loadcast.settings import Settings
from loadcast.spark.backtesting import Piece, scoring
from loadcast.spark.failures import spark_failures
from loadcast.spark.options import SparkOptions
from loadcast.spark.progress import watched
from loadcast.spark.session import create_session


@logged_run("backtest")
def backtest(settings: Settings, plan: tuple[int, int], options: SparkOptions, progress: Progress) -> Backtest:
    """Score refits; `plan` is how many folds of how many days there are. See pipeline.run.run_backtest."""
    folds, step_days = plan
    fit = fit_variants_of(family_named(settings.model))
    refits = refits_of(settings, folds, step_days)
    known = known_hours(settings, progress)
    check_hours([refit.fold for refit in refits], known.loads)
    with spark_failures(known.output):
        with progress("Starting Spark"):
            spark = create_session("loadcast backtest", options, brief=True)
        with (
            watched(spark, progress, f"Fitting and scoring {folds} folds"),
            scoring(spark, known.loads, fit) as score,
        ):
            tallies = [tally for (tally,) in score([Piece(refit, (refit.settings,)) for refit in refits])]
    periods = [refit.fold for refit in refits]
    check_scored(periods, tallies)
    return Backtest.of({**about(settings, known.run, step_days), **summary(periods, tallies)})
