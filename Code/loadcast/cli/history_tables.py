"""The tables of `loadcast history`; what they show of runs is plain text, whatever is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadcast.experiments.comparison import RunView, number_text
from loadcast.experiments.records import RunRecord
from loadcast.secrets import shown

if TYPE_CHECKING:
    from loadcast.experiments.removing import Unneeded

_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "lost": "red"}
_LONGEST_CELL = 300
_NARROWEST = 160


def console() -> Console:
    """Where tables go; wide enough for ids where no terminal says how wide it is."""
    wide = Console()
    return wide if wide.is_terminal else Console(width=max(wide.width, _NARROWEST))


def runs_table(views: Sequence[RunView], metrics: Sequence[str]) -> Table:
    """A line a run, with a column for each of the metrics."""
    table = table_of("run", "experiment", "target", "script", "state", "begun (UTC)")
    for name in ("seconds", *metrics):
        table.add_column(plain(name), justify="right")
    for view in views:
        record, numbers = view.record, view.numbers
        scores = [number_text(numbers[name]) if name in numbers else "–" for name in metrics]
        texts = (record.experiment, record.target, record.script)
        begun = f"{record.start:%Y-%m-%d %H:%M:%S}"
        table.add_row(record.id, *map(plain, texts), state(record), begun, seconds(record), *scores)
    return table


def run_tables(view: RunView) -> list[Table]:
    """All that is known of a run: how it went, what it was given, what it told."""
    record = view.record
    went = {
        "state": record.state if record.exit_code is None else f"{record.state}, exit code {record.exit_code}",
        "begun (UTC)": f"{record.start:%Y-%m-%d %H:%M:%S}",
        "seconds": seconds(record),
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
        table = table_of("metric", title="Metrics")
        table.add_column("last", justify="right")
        table.add_column("numbers", justify="right")
        for name, values in sorted(view.series.items()):
            table.add_row(plain(name), number_text(values[-1][1]), f"{len(values):,}")
        tables.append(table)
    return tables


def metric_table(name: str, series: Sequence[tuple[RunView, list[float]]]) -> Table:
    """A metric in all runs that have it."""
    table = table_of("run", "experiment", "begun (UTC)", title=name)
    for column in ("numbers", "least", "largest", "last"):
        table.add_column(column, justify="right")
    for view, numbers in series:
        record = view.record
        extremes = (number_text(min(numbers)), number_text(max(numbers)), number_text(numbers[-1]))
        begun = f"{record.start:%Y-%m-%d %H:%M:%S}"
        table.add_row(record.id, plain(record.experiment), begun, f"{len(numbers):,}", *extremes)
    return table


def unneeded_table(rows: Sequence[tuple[str, Unneeded]]) -> Table:
    """What was removed from which targets."""
    table = table_of("target", "", "name")
    table.add_column("MB", justify="right")
    for target, item in rows:
        name = item.name if item.kind in ("run", "files") else item.name[:12]
        table.add_row(plain(target), item.kind, plain(name), f"{item.size_bytes / 1e6:,.1f}")
    return table


def table_of(*columns: str, title: str | None = None, pad_edge: bool = True) -> Table:
    """An empty table with these columns, whose ids are not broken."""
    table = Table(box=SIMPLE_HEAD, title=plain(title) if title else None, title_justify="left", pad_edge=pad_edge)
    for column in columns:
        table.add_column(plain(column), overflow="fold", no_wrap=column == "run")
    return table


def _pairs(title: str, pairs: Mapping[str, str]) -> Table:
    table = table_of("", "", title=title)
    table.show_header = False
    for name, text in pairs.items():
        table.add_row(plain(name), plain(text))
    return table


def plain(text: str) -> Text:
    """Text in which nothing is markup, and nothing drives a terminal."""
    return Text(shown(text, _LONGEST_CELL))


def state(record: RunRecord) -> Text:
    return Text(record.state, style=_STYLES.get(record.state, ""))


def seconds(record: RunRecord) -> str:
    return f"{(record.end - record.start).total_seconds():,.0f}" if record.end else ""
