"""One fold of a backtest, in one process: bounds, simulated cutoffs and the model anew, from what lies before it alone.

Memory: the fleet's loads, 16 bytes for each server and observed hour; at most 200,000 training rows of about 12 bytes a
feature; some dozens of servers' grids and test rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loadcast import schema
from loadcast.errors import InputError
from loadcast.kernels.backtest.folds import Fold
from loadcast.kernels.backtest.loads import Loads
from loadcast.kernels.backtest.tally import COUNTED, FoldCounter, FoldTally
from loadcast.kernels.encode import Encoders, encoded_table, encoders_of
from loadcast.kernels.label_history import learned_rule
from loadcast.kernels.labels import LabelRule
from loadcast.kernels.simulation.sketch import Sketch
from loadcast.kernels.simulation.tables import Simulation
from loadcast.kernels.training import combine, summarize
from loadcast.kernels.vectors import dense_blocks
from loadcast.models.model import answers_of
from loadcast.models.registry import FitRows, FitVariants, OneByOne
from loadcast.rules import Rules
from loadcast.settings import Settings
from loadcast.simulated import simulated_cutoffs, simulation_of

_SECOND = timedelta(seconds=1)
#: What a task need not know, and may lead to a secret.
_PLACES = ("storage_account", "storage_container", "storage_key", "storage_endpoint", "output")


@dataclass(frozen=True)
class Refit:
    """A fold with its settings, which end where it ends; it travels to a task. Made by `of`."""

    fold: Fold
    settings: Settings
    rules: Rules

    @classmethod
    def of(cls, settings: Settings, fold: Fold) -> Refit:
        """The refit of a fold that lies before the settings' own test period. Raises ConfigError."""
        own = settings_of(settings, fold)
        rules = Rules.of(own, split=own.split)
        _ = rules.calendar  # made here, once; it travels along
        return cls(fold, own, rules)

    @property
    def cutoffs(self) -> list[int]:
        """The hours (since 1970) that are simulated as the end of what is known; none where the time is too short."""
        return simulated_cutoffs(self.settings)


def settings_of(settings: Settings, fold: Fold) -> Settings:
    """The settings of a fold's refit: they end where it ends, and name no place."""
    period = {"test_split_start": fold.split, "train_end": fold.end - _SECOND}
    return settings.model_copy(update={**period, "data_file": "-", **dict.fromkeys(_PLACES)})


def score_refit(refit: Refit, loads: Loads, fit_rows: FitRows) -> FoldTally:
    """Fit a model on what `loads` has before the fold, and count what it says of the fold's hours.

    Raises InputError where there is nothing to learn from.
    """
    return score_variants(refit, loads, OneByOne(fit_rows), [refit.settings])[0]


def score_variants(
    refit: Refit, loads: Loads, fit: FitVariants, variants: Sequence[Settings], every_forecast: bool = False
) -> list[FoldTally]:
    """What score_refit gives for each of some settings that differ in how models are fitted alone: rows are made once.

    With `every_forecast` an hour counts as often as it is forecast, in sets that forecast it once for all origins, too:
    tallies of different sets are then of the same rows. Raises InputError as score_refit does.
    """
    known = loads.before(refit.fold.split_hour)
    simulation = _simulation(refit, known)
    encoders, matrix, labels = training_rows(simulation, known)
    models = fit(matrix, labels, variants)
    commonest = 1 + int(np.bincount(labels - 1, minlength=len(schema.CLASS_NAMES)).argmax())
    counters = [FoldCounter(commonest, len(labels)) for _ in variants]
    del matrix
    for grid in loads.before(refit.fold.end_hour).grids():
        rows = simulation.test_table(grid)
        rows = rows.filter(rows.column(schema.OBSERVED))
        if not len(rows):
            continue
        often = simulation.times_forecast(rows) if every_forecast else np.ones(len(rows), np.int64)
        counted, at = rows.select(COUNTED), np.repeat(np.arange(len(rows)), often)
        counted, encoded = counted.take(pa.array(at)), encoded_table(rows, encoders)
        for model, counter in zip(models, counters, strict=True):
            said = answers_of(model, encoded, encoders.vector)
            counter.add(counted, said.labels[at], said.probabilities[at])
    return [counter.tally() for counter in counters]


def training_rows(simulation: Simulation, known: Loads) -> tuple[Encoders, NDArray[np.float32], NDArray[Any]]:
    """What encoders learn of the training rows, and these: (n, features) of 32 bits and labels (n,).

    Raises InputError where there are too few.
    """
    features, split_seconds = simulation.features, simulation.split * 3_600
    drawn = (table for grid in known.grids() for table in simulation.training_tables(grid))
    tables = [table for table in drawn if len(table)]
    summary = combine((summarize(table, features, split_seconds).as_json() for table in tables), features)
    encoders = encoders_of(features, summary)
    labels = np.concatenate([table.column(schema.LABEL).to_numpy() for table in tables])
    matrix = np.empty((len(labels), encoders.n_features), np.float32)
    begin = 0
    for number, table in enumerate(tables):
        tables[number] = table.slice(0, 0)  # freed as the matrix grows
        for block in dense_blocks(encoded_table(table, encoders), encoders.vector):
            matrix[begin : begin + len(block)] = block
            begin += len(block)
    return encoders, matrix, labels


def _simulation(refit: Refit, known: Loads) -> Simulation:
    """What makes the fold's rows, learned from what was known alone."""
    if not len(known):
        raise InputError(
            f"Found no observed hour before {refit.fold.split}, wanted some to fit a model on. "
            "Ask for fewer folds or a shorter step."
        )
    labels, cutoffs = refit.rules.labels, refit.cutoffs
    rule = labels if isinstance(labels, LabelRule) else learned_rule(known.grids(), labels)
    sketch = Sketch.of_all(known.grids(), cutoffs)
    return simulation_of(refit.settings, refit.rules, rule, sketch, len(known.servers))
