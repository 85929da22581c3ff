"""What a run says: its steps as they go, the input's quality, the model's scores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadcast.progress import Update
from loadcast.report.quality import listing

_NAMED_FILES = 3
_NAMES = {
    "sameClassAs48hBefore": "same class as 48 h before",
    "sameClassAs168hBefore": "same class as 168 h before",
    "mostFrequentOfHourOfWeek": "server's commonest class of the hour of the week",
    "mostFrequent": "always the commonest class",
}


class RichProgress:
    """A progress.Progress on standard error: a moving bar on a terminal, one line per finished step everywhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def __call__(self, title: str) -> Iterator[Update]:
        """Run one step."""
        begin_s = time.monotonic()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        self._console.print(f"{title:<44} {time.monotonic() - begin_s:6.1f} s", markup=False)


def quality_lines(quality: dict[str, Any]) -> list[str]:
    """quality.json in a few lines."""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in quality["rejectedByReason"].items())
    lines = [
        f"{quality['rows']:,} rows ({quality['bytes'] / 1e6:,.1f} MB): {quality['good']:,} kept, "
        f"{quality['rejected']:,} rejected ({quality['rejectedFraction']:.2%})" + (f": {reasons}" if reasons else "")
    ]
    if quality["outsidePeriod"] or quality["otherServer"]:
        lines.append(f"{quality['outsidePeriod']:,} outside the period, {quality['otherServer']:,} of other servers")
    if quality["repaired"]:
        lines.append(
            f"{quality['repaired']:,} bad numbers count as missing, in {len(quality['repairedByColumn'])} columns"
        )
    if files := quality["filesThatStandOut"]:
        lines.append(
            f"{len(files):,} of {len(quality['files']):,} files stand out by their rejected rows: "
            f"{listing(files, len(files), _NAMED_FILES)}. More of them: loadcast quality"
        )
    return lines


def metrics_table(part: dict[str, Any]) -> Table:
    """The model's scores on one part (train or test) beside the naive forecasts'."""
    table = Table(
        title=f"Scores on {part['rows']:,} observed hours of the test period", box=SIMPLE_HEAD, title_justify="left"
    )
    for name in ("forecast", "accuracy", "macro-F1", "F1 low", "F1 medium", "F1 high"):
        table.add_column(name, justify="left" if name == "forecast" else "right")
    table.add_row(*_score_cells("the model", part), style="bold")
    for name, scores in sorted(part["naive"].items(), key=lambda item: -item[1]["macroF1"]):
        table.add_row(*_score_cells(_NAMES[name] + (" (best naive)" if name == part["bestNaive"] else ""), scores))
    return table


def _score_cells(name: str, scores: dict[str, Any]) -> list[str]:
    per_class = [values["f1"] for values in scores["perClass"].values()]
    return [name, *(f"{value:.3f}" for value in (scores["accuracy"], scores["macroF1"], *per_class))]


def closing_lines(part: dict[str, Any], output: str, elapsed_s: float) -> list[str]:
    """The last screen of the demo: how good the model is, and where to look next."""
    best = part["bestNaive"]
    places = {
        f"{output}/metrics.json": "all scores, train and test",
        f"{output}/quality.json": "what became of the input's rows",
        f"{output}/predictions.parquet": "every test hour's class and probabilities",
        "Config/demo.json": "the configuration: point dataFile at your own logs",
        "README.md, Docs/": "how it works, every column, every command",
    }
    return [
        "",
        f"On the {part['rows']:,} observed hours of the test period, macro-F1 (the mean of the three classes' F1): "
        f"model {part['macroF1']:.3f}, best naive forecast {part['naive'][best]['macroF1']:.3f} ({_NAMES[best]}).",
        "",
        "Where to look next",
        *(f"  {place:<34}{what}" for place, what in places.items()),
        f"The demo took {elapsed_s:.0f} s.",
    ]
