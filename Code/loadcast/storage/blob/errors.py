"""Errors of blob storage that callers tell apart."""

from __future__ import annotations

from loadcast.errors import OutputError


class ChangedError(OutputError):
    """A blob was written by somebody else since it was read, or exists already: the own change was not made."""


class BlobChangedError(OSError):
    """A blob is no longer in the state that it was found in: it was written anew, or is gone."""
