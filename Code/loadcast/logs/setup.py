"""Where events go: to standard error, as text by rich or as JSON, a line each; and from Spark's workers to the driver.

Records of other libraries are left to the standard library's own handling.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from loadcast.logs.events import SERVICE
from loadcast.logs.redaction import Redaction
from loadcast.secrets import redacted

if TYPE_CHECKING:
    from rich.console import Console

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
LOGGER = logging.getLogger("loadcast")
_STYLES = {logging.DEBUG: "dim", logging.WARNING: "yellow", logging.ERROR: "red"}


@cache
def stderr_console() -> Console:
    """Standard error as rich's console; one, so that lines of the log appear above a moving progress bar."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def set_up_logging(level: str | None = None, form: str = "text") -> None:
    """Send loadcast's events of at least `level` (of LEVELS) to standard error, in a form of FORMATS.

    Without a level these are warnings, and the scoring service's requests. May be called again: the last call counts.
    """
    for handler in LOGGER.handlers[:]:
        if isinstance(handler, _ToConsole):
            LOGGER.removeHandler(handler)
    handler = _ToConsole()
    handler.setFormatter(_Json() if form == "json" else _Text())
    handler.addFilter(Redaction(tracebacks=True))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level.upper() if level else logging.WARNING)
    SERVICE.setLevel(logging.NOTSET if level else logging.INFO)


class _ToConsole(logging.Handler):
    """Writes to what standard error is at the moment: a progress bar may have put itself before it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if sys.stderr.isatty():
                from rich.text import Text

                stderr_console().print(Text(line, _STYLES.get(record.levelno, "")), soft_wrap=True)
            else:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
        except Exception:
            self.handleError(record)


class _Text(logging.Formatter):
    """`22:47:01 WARNING what happened name=value …`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


class _Json(logging.Formatter):
    """An object a line: time (UTC), level, logger, event, message, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        known: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", "message"),
            "message": getattr(record, "said", record.getMessage()),
        }
        traceback = {"traceback": record.exc_text} if record.exc_text else {}
        fields = {name: value for name, value in getattr(record, "fields", {}).items() if name not in known}
        line = json.dumps({**known, **fields, **traceback}, default=str)
        return line if getattr(record, "is_plain", False) else redacted(line)
