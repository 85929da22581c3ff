"""Commands whose complaints about a command line repeat no secret that stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from loadcast.secrets import shown

_LONGEST = 300
_OPTION = re.compile("--?[a-z][a-z-]{0,30}")


@contextmanager
def _shown_errors() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.NoSuchOption as error:
        # It ends at the first `=`, and so could be a key that is no longer known as one.
        name = error.option_name if _OPTION.fullmatch(error.option_name) else "with signs that no option has"
        raise click.UsageError(f"No such option: {name}", error.ctx) from None
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
