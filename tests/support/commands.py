"""All commands below a group, lazily imported ones included."""

from __future__ import annotations

from collections.abc import Iterator

import click


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """What is typed for each command that is no group, and the command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


def lines(group: click.Group) -> list[list[str]]:
    """What is typed for each command that is no group."""
    return [list(path) for path, _ in leaves(group)]
