"""How the model does while it runs: past forecasts against the truth, drift, and what answers now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadcast import paths, schema
from loadcast.artefacts.info import Info
from loadcast.artefacts.metrics import Metrics
from loadcast.errors import ArtefactError, InputError
from loadcast.kernels.calendar import epoch_seconds, first_whole_hour
from loadcast.kernels.drift import stability_index
from loadcast.kernels.gate import RULE, GateRule, prior_tables
from loadcast.kernels.naive_forecasts import NaiveForecasts
from loadcast.kernels.truth import Truth
from loadcast.monitoring.drift import drifting_features, feature_drift
from loadcast.monitoring.findings import Drift, Findings, Window
from loadcast.monitoring.forecast_files import find_forecasts, read_forecasts
from loadcast.monitoring.scoring import Known, Scored, score_forecasts
from loadcast.monitoring.truth import LOOK_BACK_H, read_truth
from loadcast.progress import Progress, silent
from loadcast.serving.statistics import newest_hour, open_statistics
from loadcast.settings import Settings
from loadcast.storage.output import Output, open_output
from loadcast.storage.publish import open_run

#: Scored are forecasts of so many days up to the newest hour; what is new for drift is the last of them.
DAYS = 31
NEW_DAYS = 14
_NEEDED = {paths.CURRENT: (paths.INFO,), paths.MODEL: (paths.INFO, paths.METRICS)}


@dataclass(frozen=True)
class _Runs:
    """The newest run with a model, and the newest of all, which has the truth."""

    output: Output
    trained: Path
    newest: Path
    info: Info
    metrics: Metrics

    def hourly_files(self) -> list[Path]:
        """The files of hourly statistics, oldest month first."""
        months = self.output.months(self.newest)
        folders = [months.folder(paths.HOURLY, name) for name in months.names(paths.HOURLY)]
        return [file for folder in folders for file in sorted(folder.glob("*.parquet")) if file.name[0] not in "._"]


def monitor(
    settings: Settings,
    forecasts: Path | None = None,
    days: int = DAYS,
    progress: Progress = silent,
    rule: GateRule = RULE,
) -> Findings:
    """What is found of the newest model in the configured output.

    `forecasts` is a file or folder of past forecasts; None stands for those of the model's own test period. The truth
    are the newest run's hourly statistics, in the classes of the model. Raises LoadcastError, InputError where none of
    the forecasts can be scored among others.
    """
    runs = _open(settings)
    files = find_forecasts(forecasts or _predictions(runs))
    with progress("Reading the truth"):
        window = _window(runs, days)
        span = (window.since - LOOK_BACK_H, window.newest)
        truth = read_truth(runs.hourly_files(), runs.info.label_rule, span, window.split)
    known = _known(runs, truth, window)
    with progress("Scoring forecasts"):
        scored = score_forecasts(lambda: read_forecasts(files, known.naive.has_origins), known, rule)
    if scored.hours is None:
        raise InputError(_nothing(scored, window))
    with progress("Looking for drift"):
        drift = _drift(runs, window, truth, scored)
    names = (runs.trained.name, runs.newest.name)
    return Findings(runs.output.shown, names, window, known, scored, drift, runs.info.model_version)


def _open(settings: Settings) -> _Runs:
    output = open_output(settings)
    folder = output.at_hand(_NEEDED)
    trained, newest = open_run(folder, paths.MODEL), open_run(folder)
    return _Runs(output, trained, newest, Info.read(trained), Metrics.read(trained))


def _predictions(runs: _Runs) -> Path:
    path = runs.output.artefact(runs.trained, paths.PREDICTIONS)
    if not path.exists():
        raise ArtefactError(f"{runs.trained.name} has no {paths.PREDICTIONS}. Train again, or name --forecasts.")
    return path


def _window(runs: _Runs, days: int) -> Window:
    statistics = open_statistics(runs.newest, runs.trained, lambda run: runs.output.months(runs.newest))
    newest = epoch_seconds(newest_hour(statistics)) // 3600
    # From the first whole hour that the model was not trained on.
    split = first_whole_hour(runs.info.test_split_start)
    return Window(max(split, newest + 1 - days * 24), newest, split, runs.info.timezone)


def _known(runs: _Runs, truth: Truth, window: Window) -> Known:
    """Raises ArtefactError for metrics of another loadcast, without one of the naive forecasts."""
    trained, shape = runs.metrics.train, (len(schema.CLASS_NAMES), len(schema.CLASS_NAMES))
    support = [trained.per_class[name].support for name in schema.CLASS_NAMES.values()]
    naive = NaiveForecasts(truth, 1 + int(np.argmax(support)), runs.info.features.simulates_cutoffs)
    counts = []
    for name in naive.names:
        scores = trained.naive.get(name)
        matrix = np.array([] if scores is None else scores.confusion_matrix.rows_are_true_class, dtype=np.int64)
        if matrix.shape != shape:
            raise ArtefactError(f"{paths.METRICS} of {runs.trained.name} is without {name}. Train again.")
        counts.append(matrix)
    return Known(naive, window.since, prior_tables(np.stack(counts)))


def _nothing(scored: Scored, window: Window) -> str:
    rows = scored.rows
    return (
        f"None of {rows.read:,} forecasts can be scored: {rows.pending:,} are of hours after the newest with "
        f"statistics, {rows.older:,} of hours before the first that counts, {rows.not_observed:,} of hours without "
        f"sessions, {rows.of_unknown_servers:,} of servers without statistics. Wanted some of hours from "
        f"{window.text(window.since)} to {window.text(window.newest)}: make newer statistics, or name others with "
        "--forecasts."
    )


def _drift(runs: _Runs, window: Window, truth: Truth, scored: Scored) -> Drift:
    new_since = max(window.since, window.newest + 1 - NEW_DAYS * 24)
    labels = range(1, len(schema.CLASS_NAMES) + 1)
    per_class = runs.metrics.train.per_class
    trained = np.array([per_class[name].support for name in schema.CLASS_NAMES.values()], dtype=np.int64)
    fresh = np.bincount(truth.classes[:, new_since - truth.first :].ravel(), minlength=1 + len(labels))[1:]
    said = scored.confusion[0].sum(axis=0)
    return Drift(
        features=_features(runs, window, new_since),
        classes=stability_index(trained, fresh),
        forecast_classes=stability_index(trained, said),
        since=new_since,
    )


def _features(runs: _Runs, window: Window, new_since: int) -> dict[str, float | None]:
    """Empty where a run has no feature table: one of statistics alone has none."""
    tables = [runs.output.artefact(run, paths.FEATURES) for run in (runs.trained, runs.newest)]
    then, now = tables[0], tables[1] if tables[1].exists() else tables[0]
    if not then.exists():
        return {}
    names = drifting_features(runs.info.features)
    return feature_drift(names, (then, window.split), (now, (new_since, window.newest)))
