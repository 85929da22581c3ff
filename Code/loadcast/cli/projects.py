"""What commands on a project's runs have in common: the project, and how a run is named."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click


def _project_folder(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Path:
    from loadcast.experiments.locations import project_folder

    return project_folder(folder)


#: Gives the project's top folder as `project`.
def _from_here(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Path:
    return Path(os.path.relpath(_project_folder(context, parameter, folder)))


_option = partial(
    click.option,
    "--project",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A folder of the project.  [default: the working directory]",
)
project_option = _option(callback=_project_folder)
#: Likewise, as a path from the working directory, for commands that show files of the project.
project_from_here_option = _option(callback=_from_here)
run_argument = click.argument("run")
