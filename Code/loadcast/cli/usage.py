"""Commands whose complaints about a command line repeat no secret that stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from loadcast.secrets import shown

_LONGEST = 300


@contextmanager
def _shown_errors() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise click.UsageError(shown(error.format_message(), _LONGEST), error.ctx) from None


class Command(click.Command):
    """A command that shows what it does not understand as every message of loadcast shows it."""

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _shown_errors():
            return super().make_context(*args, **options)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with _shown_errors():
            return super().make_context(*args, **options)

    def invoke(self, context: click.Context) -> Any:
        with _shown_errors():
            return super().invoke(context)
