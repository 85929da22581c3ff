"""Taking secrets out of texts that are about to be logged: a last resort, as nothing should put them there."""

from __future__ import annotations

import logging

from loadcast.secrets import redacted

_FORMATTER = logging.Formatter()


class Redaction(logging.Filter):
    """Takes secrets out of a record; a traceback, whose last line may hold a URL, is left out unless it is wanted."""

    def __init__(self, tracebacks: bool = False) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "is_plain", False):
            return True
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
