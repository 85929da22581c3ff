"""What `loadcast history compare` shows: the runs by numbers, then what differs, causes before effects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadcast.cli.history_tables import plain, seconds, state, table_of
from loadcast.errors import ArtefactError
from loadcast.experiments.comparison import Rows, RunView, in_depth, metric_rows, parameter_rows
from loadcast.experiments.snapshot_files import FileChange, file_changes, snapshot_files

#: Columns of a terminal from which on there is room for what can be left out.
_WIDE = 80
_MOST_FILES = 30
#: Lines of diffs that are shown at once: of small files, such as configurations, and of all of them.
_MOST_LINES_OF_FILE, _MOST_LINES = 16, 48


def comparison(
    project: Path, views: Sequence[RunView], keep_equal: bool, metrics: Sequence[str], console: Console
) -> None:
    """Show runs beside each other; metrics whose names begin as `metrics` says, or those that tell most."""
    wide = console.width >= _WIDE
    console.print(_runs(views, wide))
    for part in (
        *_parameters(views, keep_equal),
        *_code(project, views),
        *_metrics(views, keep_equal, metrics, wide),
    ):
        console.print(part)


def _runs(views: Sequence[RunView], wide: bool) -> Table:
    """By which number each run stands in the columns."""
    table = table_of("", "run", "state", "seconds", *(["script", "target"] if wide else []), pad_edge=False)
    for number, view in enumerate(views, 1):
        record = view.record
        more = (plain(record.script), plain(record.target)) if wide else ()
        table.add_row(str(number), record.id, state(record), seconds(record), *more)
    return table


def _parameters(views: Sequence[RunView], keep_equal: bool) -> Iterator[RenderableType]:
    # That the code differs is said of the files; runs without any have a snapshot of no name.
    rows = [row for row in parameter_rows(views, keep_equal) if row[0] != "snapshot"]
    if not rows:
        yield Text("Parameters: the same\n", style="bold")
        return
    table = table_of("Parameters", *map(str, range(1, len(views) + 1)), pad_edge=False)
    for name, texts in rows:
        table.add_row(plain(name), *_cells(texts))
    yield table


def _code(project: Path, views: Sequence[RunView]) -> Iterator[RenderableType]:
    """Which files differ from the first run's, and how; a snapshot that cannot be read is said so."""
    first, *others = (view.record for view in views)
    if all(record.snapshot == first.snapshot and record.snapshot for record in others):
        yield Text("Code: the same\n", style="bold")
        return
    for number, record in enumerate(others, 2):
        try:
            changes = [*file_changes(project, snapshot_files(project, first.id), snapshot_files(project, record.id))]
        except ArtefactError as error:
            yield Text("Code: not known", style="bold").append(f"  {error}\n", style="not bold")
            continue
        yield from _changed_files(changes, f"of {number} against 1" if len(others) > 1 else "")
        short = [change for change in changes if len(change.lines) <= _MOST_LINES_OF_FILE]
        shown = short if sum(len(change.lines) for change in short) <= _MOST_LINES else []
        yield from _lines(shown)
        if shown != changes:
            yield Text(f"  All, line by line: loadcast history code {record.id} --diff {first.id}\n", style="dim")


def _changed_files(changes: Sequence[FileChange], which: str) -> Iterator[RenderableType]:
    if not changes:
        yield Text(f"Code {which}".rstrip() + ": the same\n", style="bold")
        return
    table = table_of(f"Code {which}".rstrip(), "", "lines", "", pad_edge=False)
    for change in changes[:_MOST_FILES]:
        came, went = change.counts
        table.add_row(plain(change.path), change.change, Text(f"+{came:,}", "green"), Text(f"-{went:,}", "red"))
    if len(changes) > _MOST_FILES:
        table.add_row(f"… and {len(changes) - _MOST_FILES:,} more files", "", "", "")
    yield table


def _lines(changes: Sequence[FileChange]) -> Iterator[RenderableType]:
    styles = {"+": "green", "-": "red", "@": "dim"}
    lines = [line for change in changes for line in change.lines[len(change.lines) > 1 :]]  # one name is enough
    for line in lines:
        text = Text(str(plain(line)), styles.get(line[:1], ""), no_wrap=True, overflow="ellipsis")
        yield Padding(text, (0, 0, 0, 2), expand=False)
    if lines:
        yield Text()


def _metrics(
    views: Sequence[RunView], keep_equal: bool, prefixes: Sequence[str], wide: bool
) -> Iterator[RenderableType]:
    """Metrics under the name that they share up to the last slash; of two runs, by how much they differ."""
    rows = metric_rows(views, keep_equal)
    shown, left_out = in_depth(rows, prefixes or ([""] if keep_equal else []))
    if not rows:
        yield Text("Metrics: the same" if any(view.series for view in views) else "Metrics: none", style="bold")
        return
    two = len(views) == 2
    table = table_of("Metrics", *map(str, range(1, len(views) + 1)), *(["change"] if two else []), pad_edge=False)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    group = ""
    for name, texts in shown:
        parent, _, leaf = name.rpartition("/")
        if parent != group:
            group = parent
            table.add_row(plain(parent))
        change = [_change(views[0].numbers.get(name), views[1].numbers.get(name), wide)] if two else []
        table.add_row(Text("  " if parent else "").append(plain(leaf)), *_cells(texts), *change)
    yield table
    if left_out:
        yield _left_out(left_out)


def _left_out(rows: Rows) -> Text:
    groups = sorted({"/".join(name.split("/")[:2]) for name, _ in rows})
    named = ", ".join(groups[:4]) + (", …" if len(groups) > 4 else "")
    return Text(
        f"  {len(rows):,} more that differ, below {named}: --metric {groups[0]} shows those, --all everything",
        style="dim",
    )


def _change(before: float | None, after: float | None, wide: bool) -> str:
    if before is None or after is None:
        return ""
    share = f" {(after - before) / abs(before):+7.1%}" if before and wide else " " * 8 if wide else ""
    return f"{after - before:+.4g}{share}"


def _cells(texts: Sequence[str | None]) -> list[Text]:
    return [plain("–" if text is None else text) for text in texts]
