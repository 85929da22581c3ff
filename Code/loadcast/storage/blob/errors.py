"""Errors of blob storage that callers tell apart."""

from __future__ import annotations

from loadcast.errors import OutputError


class ChangedError(OutputError):
    """A blob was written by somebody else since it was read, or exists already: the own change was not made."""


class BlobChangedError(OSError):
    """A blob is no longer in the state that it was found in: it was written anew, or is gone."""


def error_code(error: BaseException) -> str:
    """Azure's name for what went wrong, such as BlobNotFound; empty where there was no answer."""
    code = getattr(error, "error_code", None)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return str(getattr(code, "value", code) or headers.get("x-ms-error-code") or "")


def status_of(error: BaseException) -> int:
    """The HTTP status of the answer; 0 where there was none."""
    return int(getattr(error, "status_code", None) or 0)
