"""The options that say what is logged, and how: the same for every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from loadcast.logs.setup import FORMATS, LEVELS, set_up_logging


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --log-level and --log-format, and set up logging before the command runs."""

    @click.option(
        "--log-level",
        type=click.Choice(LEVELS, case_sensitive=False),
        envvar="LOADCAST_LOG_LEVEL",
        show_envvar=True,
        help="What is logged to standard error; without it warnings, and requests of the service.",
    )
    @click.option(
        "--log-format",
        type=click.Choice(FORMATS, case_sensitive=False),
        envvar="LOADCAST_LOG_FORMAT",
        show_envvar=True,
        help="Lines of text, the default, or a JSON object a line.",
    )
    @functools.wraps(command)
    def logged(*args: Any, log_level: str | None, log_format: str | None, **options: Any) -> Any:
        set_up_logging(log_level, log_format or "text")
        return command(*args, **options)

    return logged
