"""The form of a page of tables and texts, and of its tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast.printable import printable


def print_page(console: Console, title: str, parts: Iterable[RenderableType], warning: str | None) -> None:
    """Print a title, its parts with a line between them, and a warning, if there is one."""
    console.print(Text(printable(title), style="bold"), soft_wrap=True)
    for part in parts:
        console.print()
        console.print(part, soft_wrap=isinstance(part, Text))
    if warning:
        console.print(Text(f"Warning: {warning}", style="yellow"), soft_wrap=True)


def empty_table(title: str, *columns: str) -> Table:
    """An empty table; `>` before a column's name is for numbers."""
    table = Table(title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table
