"""A made-up tuning: trials of boosted trees, and tallies of them that follow from trial and fold alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import refits
from loadcast.kernels.backtest.folds import folds_before
from loadcast.kernels.backtest.tally import ANSWERS
from loadcast.kernels.calibration import Calibration
from loadcast.kernels.tuning.plan import Schedule, Unit
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.progress import silent
from loadcast.tuning.journal import Header, Journal, open_journal
from loadcast.tuning.result import Found
from loadcast.tuning.search import Clock, Evaluate, Search
from loadcast.tuning.space import SearchSpace, Trial

FOLDS = 3
SERVERS = 12
SETTINGS = refits.make_settings(model="boosted")
SPACE = SearchSpace.of(SETTINGS)
PLAN = folds_before(datetime(2016, 6, 22), FOLDS, 2)
HEADER = Header("a" * 64, "b" * 64, "c" * 64, FOLDS, 2, "0.1.0")


def tally(unit: Unit, servers: int = SERVERS, better: float = 0.0) -> TrialTally:
    """What a unit came to; `better` is taken off each server's loss by row."""
    trial, fold = unit
    random = np.random.default_rng([trial, fold])
    rows = np.full(servers, 100 + fold)
    hits = random.integers(50, 100, servers)
    confusion = np.zeros((len(ANSWERS), 3, 3), np.int64)
    confusion[:, 0, 0], confusion[:, 0, 1] = hits.sum(), (rows - hits).sum()
    truth, labels = np.ones(rows.sum(), np.intp), np.ones(rows.sum(), np.intp)
    labels[hits.sum() :] = 2
    calibration = Calibration.of(truth, labels, np.full((len(truth), 3), 1 / 3))
    losses = rows * (0.6 + random.uniform(-0.1, 0.1, servers) - better)
    return TrialTally(rows, hits, losses, confusion, calibration, 1000 + fold)


def schedule(trials: Sequence[Trial]) -> Schedule:
    """The schedule of a tuning's trials."""
    return Schedule([trial.settings.feature_set for trial in trials], FOLDS, SPACE.controls)


def evaluate(units: Sequence[Unit]) -> list[TrialTally]:
    """As the search wants it."""
    return [tally(unit) for unit in units]


def search(
    trials: Sequence[Trial], journal: Journal, slots: int = 1, budget_s: float = 1e9, clock: Clock | None = None,
    work: Evaluate = evaluate,
) -> None:  # fmt: skip
    """Run a search to its end, or until time is up."""
    ticking = {} if clock is None else {"clock": clock}
    with silent("search") as update:
        Search(schedule(trials), work, slots, budget_s, **ticking).run(journal, update)


def table(trials: Sequence[Trial], journal: Journal) -> dict[str, Any]:
    """What follows from a journal."""
    return Found(SPACE, trials, PLAN, schedule(trials), journal.tallies).document(len(trials))


def whole(path: Path | None, trials: Sequence[Trial], slots: int = 1) -> dict[str, Any]:
    """Search to the end, on from what the journal has; the table."""
    with open_journal(path, HEADER, trials, SERVERS) as journal:
        search(trials, journal, slots)
        return table(trials, journal)
