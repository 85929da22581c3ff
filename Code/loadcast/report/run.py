"""What a run says: its steps as they go, the input's quality, the model's scores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadcast.artefacts.metrics import PartMetrics, Scores
from loadcast.artefacts.quality import Quality
from loadcast.logs.setup import stderr_console
from loadcast.progress import Update, logged_step
from loadcast.report.amounts import amount
from loadcast.report.quality import listing

_NAMED_FILES = 3
_SHOWN_HORIZONS = (1, 6, 24, 48)
_NAMES = {
    "sameClassAs48hBefore": "same class as 48 h before",
    "sameClassAs168hBefore": "same class as 168 h before",
    "mostFrequentOfSameHour7Days": "commonest class of the same hour, 7 days",
    "mostFrequentOfSameHour28Days": "commonest class of the same hour, 28 days",
    "mostFrequentOfHourOfWeek": "server's commonest class of the hour of the week",
    "classOfLastObservedHour": "class of the last observed hour",
    "sameHourOfNewestDay": "same hour of the newest known day",
    "mostFrequentOfNewest7Days": "commonest class of the same hour, newest 7 known days",
    "mostFrequentOfNewest28Days": "commonest class of the same hour, newest 28 known days",
    "mostFrequent": "always the commonest class",
}


def forecast_name(name: str) -> str:
    """What readers call a naive forecast; one that is not known here keeps its name."""
    return _NAMES.get(name, name)


class RichProgress:
    """A progress.Progress on standard error: a moving bar on a terminal, one line per finished step everywhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or stderr_console()

    @contextmanager
    def __call__(self, title: str) -> Iterator[Update]:
        """Run one step."""
        begin_s = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        shown = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        with logged_step(title), shown as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        self._console.print(f"{title:<44} {time.monotonic() - begin_s:6.1f} s", markup=False)


def quality_lines(quality: Quality) -> list[str]:
    """quality.json in a few lines."""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in quality.rejected_by_reason.items())
    lines = [
        f"{quality.rows:,} rows ({quality.bytes / 1e6:,.1f} MB): {quality.good:,} kept, "
        f"{quality.rejected:,} rejected ({quality.rejected_fraction:.2%})" + (f": {reasons}" if reasons else "")
    ]
    if quality.outside_period or quality.other_server:
        lines.append(f"{quality.outside_period:,} outside the period, {quality.other_server:,} of other servers")
    if quality.repaired:
        lines.append(f"{quality.repaired:,} bad numbers count as missing, in {len(quality.repaired_by_column)} columns")
    if files := quality.files_that_stand_out:
        lines.append(
            f"{len(files):,} of {len(quality.files):,} files stand out by their rejected rows: "
            f"{listing(files, len(files), _NAMED_FILES)}. More of them: loadcast quality"
        )
    return lines


def metrics_table(part: PartMetrics) -> Table:
    """The model's scores on one part (train or test) beside the naive forecasts'."""
    table = Table(
        title=f"Scores on {part.rows:,} observed hours of the test period", box=SIMPLE_HEAD, title_justify="left"
    )
    for name in ("forecast", "accuracy", "macro-F1", "F1 low", "F1 medium", "F1 high"):
        table.add_column(name, justify="left" if name == "forecast" else "right")
    table.add_row(*_score_cells("the model", part), style="bold")
    for name, scores in sorted(part.naive.items(), key=lambda item: -(item[1].macro_f1 or 0)):
        table.add_row(*_score_cells(forecast_name(name) + (" (best naive)" if name == part.best_naive else ""), scores))
    table.caption_justify = "left"
    table.caption = "\n".join([*_ahead(part), *_calibration(part)])
    return table


def _ahead(part: PartMetrics) -> list[str]:
    """Accuracy at some horizons, in a line; nothing where forecasts have none."""
    shown = [
        f"{scores.horizon_hours} h {scores.accuracy:.3f} ({max(scores.naive.values()):.3f})"
        for scores in part.by_horizon
        if scores.horizon_hours in _SHOWN_HORIZONS
    ]
    return [f"Accuracy by hours ahead (and of the best naive forecast there): {', '.join(shown)}."] if shown else []


def _calibration(part: PartMetrics) -> list[str]:
    if part.expected_calibration_error is None:
        return []
    return [
        f"The model's probabilities are off by {part.expected_calibration_error:.3f} on average "
        f"(expected calibration error); Brier score {_shown(part.brier_score)}."
    ]


def decision_lines(part: PartMetrics) -> list[str]:
    """What forecasts of the test period have cost, and how many are as sure as is wanted; nothing where neither is."""
    lines = []
    if part.costs is not None and part.rows:
        costs, best = part.costs, part.costs.best_naive
        bills = {"the class of least expected cost": costs.decision, "the likeliest class": costs.prediction}
        if best is not None:
            bills[f"the cheapest naive forecast: {_NAMES[best]}"] = costs.naive[best]
        lines += [f"What the forecasts of these {part.rows:,} hours have cost:"]
        for name, bill in bills.items():
            lines.append(f"{amount(bill.total):>12}  {amount(bill.per_row or 0.0):>8} an hour  {name}")
    if part.confident is not None:
        sure = part.confident
        without = f"{sure.rows_without_forecast:,} of these {part.rows:,} hours have no forecast"
        lines.append(
            f"With minConfidence {sure.min_confidence:g}, {without}; accuracy of the others: {_shown(sure.accuracy)}."
        )
    return lines


def _score_cells(name: str, scores: Scores) -> list[str]:
    per_class = [values.f1 for values in scores.per_class.values()]
    return [name, *map(_shown, (scores.accuracy, scores.macro_f1, *per_class))]


def _shown(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


def _best_naive(part: PartMetrics) -> str:
    best = part.best_naive
    return (
        "no naive forecast"
        if best is None
        else f"best naive forecast {_shown(part.naive[best].macro_f1)} ({forecast_name(best)})"
    )


def closing_lines(part: PartMetrics, output: str, elapsed_s: float) -> list[str]:
    """The last screen of the demo: how good the model is, and where to look next."""
    pointers = {
        f"{output}/metrics.json": "all scores, train and test",
        f"{output}/quality.json": "what became of the input's rows",
        f"{output}/predictions.parquet": "every test hour's class and probabilities",
        "Config/demo.json": "the configuration: point dataFile at your own logs",
        "README.md, Docs/": "how it works, every column, every command",
    }
    return [
        "",
        f"On the {part.rows:,} observed hours of the test period, macro-F1 (the mean of the three classes' F1): "
        f"model {_shown(part.macro_f1)}, {_best_naive(part)}.",
        "",
        "Where to look next",
        *(f"  {path:<34}{what}" for path, what in pointers.items()),
        f"The demo took {elapsed_s:.0f} s.",
    ]
