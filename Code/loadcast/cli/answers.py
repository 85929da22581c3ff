"""How commands of model management answer: as text, as JSON, or with the bare value that a script goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from loadcast.secrets import shown

#: Gives the command `output`.
output_option = click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json", "value"]),
    default="text",
    show_default=True,
    help="As text, as JSON, or the bare id or key, for scripts.",
)

Rows = Iterable[tuple[str, object]]


def answer(output: str, value: str, document: object, text: Callable[[], object]) -> None:
    """Print one of the three: `text` prints the text, and is called for it alone."""
    if output == "value":
        click.echo(value)
    elif output == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        text()


def show_fields(rows: Rows, title: str | None = None) -> None:
    """Print names and values, one a line; those without a value are left out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title and shown(title), show_header=False)
    for name, value in rows:
        if value not in (None, "", ()):
            table.add_row(Text(name), Text(shown(value, 2_000), overflow="fold"))
    Console().print(table)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table of values, as messages show them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(Text(shown("" if value is None else value), overflow="fold") for value in row))
    Console().print(table)


def tag_words(tags: Mapping[str, Any]) -> str:
    """Tags as they were given."""
    return ", ".join(f"{key}={value}" if value else key for key, value in tags.items())
