"""Taking secrets out of texts that are about to be logged: a last resort, as nothing should put them there."""

from __future__ import annotations

import logging
import re

_SECRETS = (
    # A SAS: its signature, plain or percent-encoded; also where the whole query is encoded once more.
    re.compile(r"((?<![A-Za-z])sig(?:=|%3D))[^&\s'\"<>]+", re.IGNORECASE),
    re.compile(r"(AccountKey=)[^;\s'\"]+", re.IGNORECASE),
    re.compile(r"(SharedKey(?:Lite)?\s+\S+?:)[A-Za-z0-9+/=]+"),
    re.compile(r"(Bearer\s+)[A-Za-z0-9._~+/=-]+"),
)
#: Without one of these no secret is found: most texts are done with after a look for them.
_MARKS = ("sig", "key", "bearer")
_FORMATTER = logging.Formatter()


def redacted(text: str) -> str:
    """The text without the secrets of signatures, keys and tokens that are marked as such."""
    lower = text.lower()
    if not any(mark in lower for mark in _MARKS):
        return text
    for secret in _SECRETS:
        text = secret.sub(r"\1REDACTED", text)
    return text


class Redaction(logging.Filter):
    """Takes secrets out of a record; a traceback, whose last line may hold a URL, is left out unless it is wanted."""

    def __init__(self, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        record.msg, record.args = redacted(message), None
        if record.exc_info and self._tracebacks:
            record.exc_text = _FORMATTER.formatException(record.exc_info)
        record.exc_text = redacted(record.exc_text) if record.exc_text and self._tracebacks else None
        record.exc_info = None
        return True
