"""How the next command is typed: as a script of the clone, where the user called one, else as a subcommand."""

from __future__ import annotations

import click

_SCRIPTS = {
    "etl": "Code/etl.py",
    "stats": "Code/O16Npreprocessing.py",
    "train": "Code/train.py",
    "serve": "Code/webservice.py",
    "score": "Code/scoring_webservice.py",
    "download": "Code/download_model.py",
}


def typed(command: str, *arguments: str) -> str:
    """The line that runs `command`, within the run of another command."""
    called_as_script = not isinstance(click.get_current_context().find_root().command, click.Group)
    return " ".join((command_line(command, called_as_script), *arguments))


def command_line(command: str, as_script: bool) -> str:
    """A command without its arguments, such as `python Code/etl.py` or `loadcast etl`."""
    return f"python {_SCRIPTS[command]}" if as_script and command in _SCRIPTS else f"loadcast {command}"
