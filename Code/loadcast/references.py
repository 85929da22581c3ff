"""Secrets are where a configuration's references say: in a variable of the environment, or in a file."""

from __future__ import annotations

import os
from pathlib import Path

from loadcast.errors import ConfigError
from loadcast.system.small_files import read_small_file

_LARGEST_SECRET_BYTES = 16 << 10


def read_reference(reference: str, field: str, wanted: str = "Wanted a secret there.") -> str:
    """The secret that `env:NAME` or `file:PATH` refers to, without spaces around it.

    Raises ConfigError that names the field and the reference only, and says with `wanted` what should be there.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        text = os.environ.get(name, "")
        problem = "the environment has no such variable, or an empty one"
    elif kind == "file" and name:
        text, problem = _read_file(name)
    else:
        # What was found may be the secret itself: it must not be echoed.
        raise ConfigError(f"{field}: wanted a reference, env:NAME or file:PATH, never the secret itself.")
    text = text.strip()
    if not text:
        raise ConfigError(f"{field} {reference}: {problem}. {wanted}")
    return text


def _read_file(name: str) -> tuple[str, str]:
    try:
        data = read_small_file(Path(name).expanduser(), _LARGEST_SECRET_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        return "", f"it cannot be read ({getattr(error, 'strerror', None) or 'no such name is possible'})"
    if len(data) > _LARGEST_SECRET_BYTES:
        return "", f"the file has more than {_LARGEST_SECRET_BYTES >> 10} KB"
    try:
        return data.decode("utf-8-sig"), "the file is empty"
    except UnicodeDecodeError:
        return "", "the file is not UTF-8 text"
