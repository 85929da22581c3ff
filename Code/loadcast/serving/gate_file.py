"""The gate of a running service: a file that `loadcast monitor` replaces each hour, read anew as it changes."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from loadcast.artefacts.document import MAX_BYTES
from loadcast.artefacts.gate import GateFile
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError, ConfigError
from loadcast.logs.events import SERVICE, log_event
from loadcast.secrets import shown
from loadcast.serving.answering import GateInUse, check_gate, check_gateable, warn_ignored, why_ignored
from loadcast.serving.looks import Looks
from loadcast.system.small_files import read_small_file

_Identity = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class HeldGate:
    """A gate as it was read, and when its file was written: seconds since 1970."""

    content: GateFile
    written_s: float

    @property
    def newest_hour_s(self) -> float | None:
        """Begin of its newest hour, since 1970; None where this machine does not know its time zone."""
        try:
            return self.content.newest_hour.replace(tzinfo=ZoneInfo(self.content.timezone)).timestamp()
        except (KeyError, ValueError, OSError, OverflowError):
            return None


@dataclass(frozen=True, eq=False)
class GateState:
    """What answers for a model: the gate that is held for it, None for the model alone.

    `is_refused` says that the file, as it is now, cannot be used.
    """

    held: HeldGate | None
    is_refused: bool


@dataclass(frozen=True, eq=False)
class _Choice:
    """Which gate counts for the model of `info`, of those that there were when `newest` was."""

    newest: HeldGate
    info: Info
    held: HeldGate | None

    def is_of(self, newest: HeldGate, info: Info) -> bool:
        """Whether it is made already for these."""
        return self.newest is newest and self.info is info


class LiveGate:
    """The gate of a service. Raises ArtefactError where the file holds no gate from the start.

    Later on the last gate that fits the model goes on counting, whatever becomes of the file; that is warned of once.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        try:
            self._newest, self._seen = _read(path)
        except (OSError, ValueError) as error:
            raise ArtefactError(f"{shown(path)} cannot be read: {_reason(error)}. {GateFile.REMEDY}") from error
        self._good = self._newest
        self._choice: _Choice | None = None
        # What is wrong with the file now, and with what was read of it last.
        self._fault = self._fault_of_seen = ""
        self._ignored: HeldGate | None = None
        self._looks, self._choosing = Looks(self._look, clock), threading.Lock()

    def check(self, info: Info) -> None:
        """Raise ConfigError where no gate could fit this model; where the file does not, that is warned of now."""
        check_gateable(info)
        self.state(info)

    def state(self, info: Info) -> GateState:
        """What counts for this model. Any thread may ask; the file is looked at once a second at most."""
        self._looks.look_if_due()
        choice = self._choice
        if choice is None or not choice.is_of(self._newest, info):
            with self._choosing:
                choice = self._choice
                if choice is None or not choice.is_of(self._newest, info):
                    choice = self._choice = self._chosen(self._newest, info)
        return GateState(choice.held, bool(self._fault) or choice.held is not choice.newest)

    def for_forecast(self, info: Info, begin: datetime, is_next: bool) -> GateInUse | None:
        """The gate for a forecast from `begin` on; None where the model answers.

        `is_next` says that these are the hours after the newest: a gate that does not count for them is warned of once.
        """
        held = self.state(info).held
        if held is None:
            return None
        what = why_ignored(held.content, begin)
        if what is None:
            return GateInUse(held.content, info, begin)
        with self._choosing:
            is_news, self._ignored = is_next and self._ignored is not held, held if is_next else self._ignored
        if is_news:
            warn_ignored(held.content, begin, what)
        return None

    def _look(self) -> None:
        try:
            if _identity(os.stat(self._path)) == self._seen:
                self._fault = self._fault_of_seen
                return
            newest, seen = _read(self._path)
        except _UnusableError as error:
            # It will not get better before it changes: until then it is not read again.
            self._seen, self._fault_of_seen = error.identity, str(error)
            self._refuse(str(error))
        except (OSError, ValueError) as error:
            if _reason(error) != self._fault:
                self._refuse(_reason(error))
        else:
            self._newest, self._seen, self._fault_of_seen, self._fault = newest, seen, "", ""
            times = {name: str(getattr(newest.content, name)) for name in ("newest_hour", "valid_until")}
            message = "The gate file has changed, and was read anew."
            log_event(SERVICE, logging.INFO, "gate", message, file=str(self._path), **times)

    def _refuse(self, why: str) -> None:
        self._fault = why
        self._warn("The gate file cannot be used; the last good one still counts.", why)

    def _chosen(self, newest: HeldGate, info: Info) -> _Choice:
        """The newest gate where it fits the model, else the last that did where that one does."""
        why = _misfit(newest, info)
        if why is None:
            self._good = newest
            return _Choice(newest, info, newest)
        if self._good is not newest and _misfit(self._good, info) is None:
            self._warn("The gate file does not fit the model; the last good one still counts.", why)
            return _Choice(newest, info, self._good)
        self._warn("The gate file does not fit the model, which answers alone.", why)
        return _Choice(newest, info, None)

    def _warn(self, message: str, why: str) -> None:
        log_event(SERVICE, logging.WARNING, "gate", message, file=str(self._path), why=why)


class _UnusableError(ArtefactError):
    """What was read is no gate. `identity` is the file's."""

    def __init__(self, message: str, identity: _Identity) -> None:
        super().__init__(message)
        self.identity = identity


def _read(path: Path) -> tuple[HeldGate, _Identity]:
    """The gate in a file, and the identity of what was read. Raises OSError, ValueError and _UnusableError.

    A pipe is none: it could not be read anew. Nothing is read of a file that is too large to be a gate.
    """
    states: list[os.stat_result] = []

    def check(state: os.stat_result) -> None:
        states.append(state)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        if state.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MAX_BYTES:,} bytes")

    data = read_small_file(path, MAX_BYTES + 1, check)
    try:
        content = GateFile.parse(data, shown(path))
    except ArtefactError as error:
        raise _UnusableError(str(error), _identity(states[0])) from error
    return HeldGate(content, states[0].st_mtime), _identity(states[0])


def _identity(state: os.stat_result) -> _Identity:
    """What differs between a file and another at its place, and between a file and itself as it was before."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _misfit(held: HeldGate, info: Info) -> str | None:
    try:
        check_gate(held.content, info)
    except (ArtefactError, ConfigError) as error:
        return str(error)
    return None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "no file can have such a name"
