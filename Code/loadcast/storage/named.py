"""What a text names as OUTPUT or MODEL: a folder, a URL, or the configuration whose output it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loadcast.settings import load_settings
from loadcast.storage.output import Output, open_output, open_output_at
from loadcast.storage.remote import is_remote


def output_of(name: str) -> Output:
    """The output that a folder, URL or configuration file names. Raises LoadcastError."""
    return open_output(load_settings(name)) if _is_file(name) else open_output_at(name)


def folder_of(name: str, link: str, names: Iterable[str]) -> Path:
    """What is named, as a folder of this machine, with these artefacts of the run that `link` leads to.

    A folder is left as it is: it may be a run's own, or a bundle's. Raises LoadcastError.
    """
    if not is_remote(name) and not _is_file(name):
        return Path(name)
    return output_of(name).at_hand({link: names})


def _is_file(name: str) -> bool:
    return not is_remote(name) and os.path.isfile(name)
