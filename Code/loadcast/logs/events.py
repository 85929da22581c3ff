"""What loadcast logs: events, each with a message for people and fields for programs.

The loggers are the standard library's, below `loadcast`. Whoever sets up no logging sees warnings on standard error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from loadcast.printable import printable
from loadcast.secrets import redacted

Value = str | int | float | bool | None

#: Steps of a run, what it read and published.
RUN = logging.getLogger("loadcast.run")
#: Requests that have to wait for a storage account, or are asked again.
STORAGE = logging.getLogger("loadcast.storage")
#: Models as they are loaded.
MODEL = logging.getLogger("loadcast.model")
#: The scoring service, and its requests.
SERVICE = logging.getLogger("loadcast.service")
#: Requests of a client that are sent again.
CLIENT = logging.getLogger("loadcast.client")
_LONGEST = 500


def log_event(logger: logging.Logger, level: int, event: str, message: str, **fields: Value) -> None:
    """Log an event: its name, one word or two; what happened, in words; and its fields, with the unit in the name."""
    if not logger.isEnabledFor(level):
        return
    harmless = {name: _harmless(value) for name, value in fields.items() if value is not None}
    words = " ".join(f"{name}={_quoted(value)}" for name, value in harmless.items())
    said = redacted(printable(message))
    logger.log(level, "%s", f"{said} {words}".rstrip(), extra={"event": event, "said": said, "fields": harmless})


def log_plain(logger: logging.Logger, level: int, event: str, message: str, fields: Mapping[str, Value]) -> None:
    """Log an event that cannot hold a secret or a control character, for which nothing is searched in vain.

    Of its texts each is one of those that the program itself has, or has been checked to be a plain word.
    """
    if not logger.isEnabledFor(level):
        return
    words = " ".join([f"{name}={value}" for name, value in fields.items()])
    record = logging.LogRecord(logger.name, level, "", 0, f"{message} {words}", None, None)
    record.__dict__.update(event=event, said=message, fields=fields, is_plain=True)
    logger.handle(record)


def _harmless(value: Value) -> Value:
    if isinstance(value, float):
        return round(value, 6)
    return redacted(printable(value[:_LONGEST])) if isinstance(value, str) else value


def _quoted(value: Value) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text or not text else text
