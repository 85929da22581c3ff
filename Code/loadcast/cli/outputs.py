"""What a command line's OUTPUT or MODEL stands for: a folder, a URL, or the configuration whose output it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from loadcast.settings import load_settings
from loadcast.storage.output import Output, open_output, open_output_at
from loadcast.storage.remote import is_remote


def output_of(address: str) -> Output:
    """The output that a folder, URL or configuration file names. Raises LoadcastError."""
    return open_output(load_settings(address)) if _is_file(address) else open_output_at(address)


def folder_of(address: str, link: str, names: Iterable[str]) -> Path:
    """The address as a folder of this machine, with these artefacts of the run that `link` leads to.

    A folder is left as it is: it may be a run's own, or a bundle's. Raises LoadcastError.
    """
    if not is_remote(address) and not _is_file(address):
        return Path(address)
    return output_of(address).at_hand({link: names})


def _is_file(address: str) -> bool:
    return not is_remote(address) and os.path.isfile(address)
