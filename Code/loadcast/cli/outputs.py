"""What a command line's OUTPUT or MODEL stands for: a folder, a URL, or the configuration whose output it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loadcast.settings import load_settings
from loadcast.storage.output import Output, open_output, open_output_at
from loadcast.storage.remote import is_remote


def output_of(place: str) -> Output:
    """The output that a folder, URL or configuration file names. Raises LoadcastError."""
    return open_output(load_settings(place)) if _is_file(place) else open_output_at(place)


def folder_of(place: str, link: str, names: Iterable[str]) -> Path:
    """The place as a folder of this machine, with these artefacts of the run that `link` leads to.

    A folder is left as it is: it may be a run's own, or a bundle's. Raises LoadcastError.
    """
    if not is_remote(place) and not _is_file(place):
        return Path(place)
    return output_of(place).at_hand({link: names})


def _is_file(place: str) -> bool:
    return not is_remote(place) and os.path.isfile(place)
