"""Tuning: the settings of a model tried on refits of earlier times, side by side on Spark; nothing is published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadcast import __version__
from loadcast.artefacts.tuning import Tuning
from loadcast.kernels.backtest.folds import Fold
from loadcast.kernels.tuning.plan import Schedule, Unit
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.models.registry import family_named, fit_variants_of
from loadcast.pipeline.refitting import KnownHours, about, check_hours, check_scored, known_hours, refits_of
from loadcast.progress import Progress, logged_run
from loadcast.refit import Refit, settings_of
from loadcast.spark.backtesting import Piece, Scorer, scoring
from loadcast.spark.failures import spark_failures
from loadcast.spark.options import SparkOptions
from loadcast.spark.session import create_session
from loadcast.spark.task_slots import slots_side_by_side
from loadcast.tuning.journal import Header, open_journal
from loadcast.tuning.plan import TuningPlan
from loadcast.tuning.result import Found
from loadcast.tuning.search import Search, is_left
from loadcast.tuning.space import SearchSpace, Trial

#: Keys that change neither the rows nor the models of a trial, or of which the statistics tell all.
_NO_MATTER = (
    *("dataFile", "storageAccount", "storageContainer", "storageKey", "storageEndpoint", "output", "trainEnd"),
    *("filterServers", "columns", "contract", "maxRejectedFraction", "keepScanned", "costs", "minConfidence"),
)


@logged_run("tune")
def tune(
    space: SearchSpace, plan: TuningPlan, journal: Path | None, options: SparkOptions, progress: Progress
) -> Tuning:
    """Try the trials of a space. See pipeline.run.run_tuning."""
    settings = space.settings
    fit = fit_variants_of(family_named(settings.model))
    folds = [refit.fold for refit in refits_of(settings, plan.folds, plan.step_days)]
    trials = space.trials(plan.trials)
    schedule = Schedule([trial.settings.feature_set for trial in trials], plan.folds, space.controls)
    known = known_hours(settings, progress)
    check_hours(folds, known.loads)
    with open_journal(journal, _header(space, plan, known), trials, len(known.loads.servers)) as kept:
        if is_left(schedule, kept):
            with spark_failures(known.output):
                with progress("Starting Spark"):
                    spark = create_session("loadcast tune", options, brief=True)
                with scoring(spark, known.loads, fit) as score:
                    work = _Work(folds, trials, known.loads.servers, score)
                    search = Search(schedule, work, slots_side_by_side(spark), plan.budget_s)
                    with progress(f"Trying up to {len(trials)} settings on {plan.folds} folds") as update:
                        search.run(kept, update)
        tallies = dict(kept.tallies)
    found = Found(space, trials, folds, schedule, tallies).document(plan.trials)
    return Tuning.of({**about(settings, known.run, plan.step_days), **found})


@dataclass(frozen=True)
class _Work:
    """Scores units on Spark, those of a call in one task; `servers` are those of the tallies."""

    folds: Sequence[Fold]
    trials: Sequence[Trial]
    servers: Sequence[str]
    score: Scorer

    def __call__(self, units: Sequence[Unit]) -> list[TrialTally]:
        """The tallies of units of one fold and one feature set."""
        fold = self.folds[units[0][1] - 1]
        tried = [self.trials[trial].settings for trial, _ in units]
        variants = tuple(settings_of(settings, fold) for settings in tried)
        [tallies] = self.score([Piece(Refit.of(tried[0], fold), variants, every_forecast=True)])
        check_scored([fold] * len(units), tallies)
        return [TrialTally.of(tally, self.servers) for tally in tallies]


def _header(space: SearchSpace, plan: TuningPlan, known: KnownHours) -> Header:
    # Not Settings.document, which leaves out some defaults: another release may have others.
    whole = space.settings.model_dump(mode="json", by_alias=True)
    document = {key: value for key, value in whole.items() if key not in _NO_MATTER}
    return Header(
        configuration=_digest(document),
        statistics=known.loads.digest(),
        space=_digest(space.choices),
        folds=plan.folds,
        step_days=plan.step_days,
        loadcast=__version__,
    )


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
