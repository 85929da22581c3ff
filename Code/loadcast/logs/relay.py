"""Events of Spark's workers, brought to the driver on the same machine, whose log the user sees.

Workers write to the JVM's standard error, which is not shown. So they send their events through a named pipe that only
this user can open. A worker never waits for it: what finds the pipe full, or nobody at its end, is dropped.
On a cluster there is no such pipe, and warnings go to the executor's own standard error.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from loadcast.logs.setup import LOGGER
from loadcast.system.temporary import process_folder

_VARIABLE = "LOADCAST_LOG_PIPE"
_LONGEST = 200
_READ_BYTES = 1 << 16
#: What of a record is sent, with its message: no more than many writers may write without mixing their bytes.
_SENT = ("name", "levelno", "created", "event", "said", "fields")


def open_relay() -> None:
    """Listen to the workers of this process's Spark; they find the pipe through the environment. Once is enough."""
    if not _relay.listens:
        _relay.open()


def send_to_driver() -> None:
    """Send this worker's events to the driver, where there is one that listens."""
    level, _, path = os.environ.get(_VARIABLE, "").partition(":")
    if path and level.isdigit():
        LOGGER.addHandler(_ToDriver(path))
        LOGGER.setLevel(int(level))
        LOGGER.propagate = False


class _Relay:
    """The driver's end."""

    def __init__(self) -> None:
        self.listens = False

    def open(self) -> None:
        path = process_folder() / "log-pipe"  # which is this user's alone, and goes however the process ends
        os.mkfifo(path, 0o600)
        # Open for writing, too: so it does not end with the last worker that has written.
        descriptor = os.open(path, os.O_RDWR)
        os.environ[_VARIABLE] = f"{LOGGER.getEffectiveLevel()}:{path}"
        threading.Thread(target=_listen, args=(descriptor,), name="loadcast-log", daemon=True).start()
        self.listens = True


_relay = _Relay()


def _listen(descriptor: int) -> None:
    rest = b""
    while data := os.read(descriptor, _READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _log(line)


def _log(line: bytes) -> None:
    try:
        sent: dict[str, Any] = json.loads(line)
        logger = logging.getLogger(str(sent["name"]))
        if logger.isEnabledFor(sent["levelno"]):
            logger.handle(logging.makeLogRecord({**sent, "levelname": logging.getLevelName(sent["levelno"])}))
    except (ValueError, LookupError, TypeError, RecursionError):  # nothing that a worker of ours has sent
        return


class _ToDriver(logging.Handler):
    """The worker's end. The pipe is opened for each event: they are rare, and workers are forked."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        sent = {name: getattr(record, name) for name in _SENT if hasattr(record, name)}
        line = json.dumps({**sent, "msg": text}, default=str).encode()
        if len(line) >= select.PIPE_BUF:
            line = json.dumps({"name": record.name, "levelno": record.levelno, "msg": text[:_LONGEST]}).encode()
        with suppress(OSError):  # the driver has ended, or has too much to read
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(descriptor, line + b"\n")
            finally:
                os.close(descriptor)
