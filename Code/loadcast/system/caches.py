"""The folder for what can be had again: copies, and compiled code."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "LOADCAST_CACHE"


def cache_folder() -> Path:
    """$LOADCAST_CACHE, else loadcast's part of the user's cache folder. Raises RuntimeError for a user without home."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "loadcast")
