"""The tables of `loadcast history`; what they show of runs is plain text, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadcast.errors import ArtefactError
from loadcast.experiments.comparison import Rows, RunView, metric_rows, number_text, parameter_rows
from loadcast.experiments.records import RunRecord
from loadcast.experiments.snapshot_files import SnapshotFile, changed_paths
from loadcast.secrets import shown

_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "lost": "red"}
_LONGEST_CELL = 300
_NARROWEST = 160
_MOST_FILES = 30


def console() -> Console:
    """Where tables go; wide enough for ids where no terminal says how wide it is."""
    wide = Console()
    return wide if wide.is_terminal else Console(width=max(wide.width, _NARROWEST))


def runs_table(views: Sequence[RunView], metrics: Sequence[str]) -> Table:
    """A line a run, with a column for each of the metrics."""
    table = _table("run", "experiment", "target", "script", "state", "begun (UTC)")
    for name in ("seconds", *metrics):
        table.add_column(_plain(name), justify="right")
    for view in views:
        record, numbers = view.record, view.numbers
        scores = [number_text(numbers[name]) if name in numbers else "–" for name in metrics]
        texts = (record.experiment, record.target, record.script)
        begun = f"{record.start:%Y-%m-%d %H:%M:%S}"
        table.add_row(record.id, *map(_plain, texts), _state(record), begun, _seconds(record), *scores)
    return table


def run_tables(view: RunView) -> list[Table]:
    """All that is known of a run: how it went, what it was given, what it told."""
    record = view.record
    went = {
        "state": record.state if record.exit_code is None else f"{record.state}, exit code {record.exit_code}",
        "begun (UTC)": f"{record.start:%Y-%m-%d %H:%M:%S}",
        "seconds": _seconds(record),
        "note": record.note,
        "step of": record.parent,
        "submitted by": f"loadcast {record.submitted_by}",
        "files": ", ".join(view.files),
    }
    parameters = {**{name: text for name, text in went.items() if text}, **view.parameters}
    tables = [_pairs(record.id, parameters)]
    if view.texts:
        tables.append(_pairs("Texts", view.texts))
    if view.series:
        table = _table("metric", title="Metrics")
        table.add_column("last", justify="right")
        table.add_column("numbers", justify="right")
        for name, values in sorted(view.series.items()):
            table.add_row(_plain(name), number_text(values[-1][1]), f"{len(values):,}")
        tables.append(table)
    return tables


def comparison_tables(views: Sequence[RunView], keep_equal: bool) -> list[Table]:
    """Parameters and metrics of runs beside each other; of two runs, by how much metrics differ."""
    runs = [view.record.id for view in views]
    parameters = _side_by_side("Parameters", runs, parameter_rows(views, keep_equal))
    rows = metric_rows(views, keep_equal)
    if len(views) == 2:
        before, after = (view.numbers for view in views)
        rows = [(name, [*texts, _change(before.get(name), after.get(name))]) for name, texts in rows]
        runs = [*runs, "change"]
    return [parameters, _side_by_side("Metrics", runs, rows, justify="right")]


def _change(before: float | None, after: float | None) -> str:
    return "" if before is None or after is None else f"{after - before:+.6g}"


def code_table(runs: Sequence[str], files_of: Callable[[str], Mapping[str, SnapshotFile]]) -> Table:
    """Which files differ from the first run's; a snapshot that cannot be read is said so."""
    table = _table("compared with the first", "file", "", title="Code")
    try:
        first = dict(files_of(runs[0]))
        for run in runs[1:]:
            changes = changed_paths(first, dict(files_of(run)))
            for path, change in changes[:_MOST_FILES]:
                table.add_row(run, _plain(path), change)
            if len(changes) > _MOST_FILES:
                table.add_row(run, f"… and {len(changes) - _MOST_FILES:,} more", "")
    except ArtefactError as error:
        table.add_row("", _plain(str(error)), "not known")
    return table


def metric_table(name: str, series: Sequence[tuple[RunView, list[float]]]) -> Table:
    """A metric in all runs that have it."""
    table = _table("run", "experiment", "begun (UTC)", title=name)
    for column in ("numbers", "least", "largest", "last"):
        table.add_column(column, justify="right")
    for view, numbers in series:
        record = view.record
        extremes = (number_text(min(numbers)), number_text(max(numbers)), number_text(numbers[-1]))
        begun = f"{record.start:%Y-%m-%d %H:%M:%S}"
        table.add_row(record.id, _plain(record.experiment), begun, f"{len(numbers):,}", *extremes)
    return table


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(box=SIMPLE_HEAD, title=_plain(title) if title else None, title_justify="left")
    for column in columns:
        is_id = column in ("run", "compared with the first")
        table.add_column(_plain(column), overflow="fold", no_wrap=is_id)
    return table


def _pairs(title: str, pairs: Mapping[str, str]) -> Table:
    table = _table("", "", title=title)
    table.show_header = False
    for name, text in pairs.items():
        table.add_row(_plain(name), _plain(text))
    return table


def _side_by_side(title: str, runs: Sequence[str], rows: Rows, justify: Literal["left", "right"] = "left") -> Table:
    table = _table("", title=title)
    for run in runs:
        table.add_column(run, overflow="fold", justify=justify)
    for name, texts in rows:
        table.add_row(_plain(name), *(_plain("–" if text is None else text) for text in texts))
    return table


def _plain(text: str) -> Text:
    """Text in which nothing is markup, and nothing drives a terminal."""
    return Text(shown(text, _LONGEST_CELL))


def _state(record: RunRecord) -> Text:
    return Text(record.state, style=_STYLES.get(record.state, ""))


def _seconds(record: RunRecord) -> str:
    return f"{(record.end - record.start).total_seconds():,.0f}" if record.end else ""
