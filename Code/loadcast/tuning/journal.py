"""The journal of a tuning: what each finished fold of a trial came to, a line of JSON each: another call goes on.

The first line says what the others are of. A last line that a kill has torn is cut off; anything else that is not as
this loadcast writes it is refused: the file may be another's.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom, BytesIO
from pathlib import Path
from typing import Any

from loadcast.artefacts.document import FORMAT_VERSION, MAX_BYTES, DocumentError, decode
from loadcast.errors import ArtefactError, OutputError
from loadcast.kernels.tuning.plan import Unit
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.secrets import shown
from loadcast.tuning.space import Trial

VERSION = 1
_KIND = "loadcast tune"
_MOST_BYTES = 4 << 30
_ELSE = "Name another file with --journal, or remove this one to begin anew."


@dataclass(frozen=True)
class Header:
    """What a journal is of: digests of the configuration, the statistics and the space; the folds; the program."""

    configuration: str
    statistics: str
    space: str
    folds: int
    step_days: int
    loadcast: str

    def document(self) -> dict[str, Any]:
        """The first line."""
        names = {"configuration": self.configuration, "statistics": self.statistics, "space": self.space}
        plan = {"folds": self.folds, "stepDays": self.step_days, "loadcast": self.loadcast}
        return {FORMAT_VERSION: VERSION, "journal": _KIND, **names, **plan}


@dataclass
class Journal:
    """What is known of a tuning's units; `add` writes more. Opened by `open_journal`."""

    tallies: dict[Unit, TrialTally]
    _file: BufferedRandom | BytesIO
    _trials: Sequence[Trial]

    def add(self, unit: Unit, tally: TrialTally) -> None:
        """Keep what a unit came to; it is in the file when this returns. Raises OSError where the disk is full."""
        trial, fold = unit
        entry = {"trial": trial, "changes": dict(self._trials[trial].changes), "fold": fold, **tally.as_json()}
        self._file.write(_line(entry))
        self._file.flush()
        self.tallies[unit] = tally


@contextmanager
def open_journal(path: Path | None, header: Header, trials: Sequence[Trial], servers: int) -> Iterator[Journal]:
    """The journal in a file, which is made; nobody else writes to it meanwhile.

    None: it is forgotten at the end. `servers` is how many the tallies are of. Raises ArtefactError for a file that is
    no journal, or one of something else, and OutputError where it cannot be read and written, or is in use.
    """
    if path is None:
        yield Journal({}, BytesIO(), trials)
        return
    with _opened(path) as file:
        reader = _Reader(path, header, trials, servers)
        tallies = reader.tallies(file)
        if not reader.whole_bytes:
            _write_header(file, header)
        else:
            file.truncate(reader.whole_bytes)
            file.seek(0, os.SEEK_END)
        yield Journal(tallies, file, trials)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedRandom]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no file can have such a name"
        raise OutputError(
            f"Cannot write the journal {shown(path)}: {why}. Name another file with --journal."
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OutputError(f"The journal {shown(path)} is no file. Name another one with --journal.")
    with open(descriptor, "r+b") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"The journal {shown(path)} is in use by another loadcast tune. Wait for its end, or name another file "
                "with --journal."
            ) from error
        yield file


@dataclass
class _Reader:
    path: Path
    header: Header
    trials: Sequence[Trial]
    servers: int
    #: How many bytes of the file are whole lines.
    whole_bytes: int = 0

    def tallies(self, file: BufferedRandom) -> dict[Unit, TrialTally]:
        """What the file's whole lines say."""
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise self._fault(f"it is larger than {_MOST_BYTES:,} bytes")
        found: dict[Unit, TrialTally] = {}
        for number, line in enumerate(self._lines(file), 1):
            try:
                content = decode(line)
                if number == 1:
                    self._check_header(content)
                elif (unit := self._unit(content)) is not None:
                    found[unit] = TrialTally.from_json(content, self.servers)
            except ValueError as error:  # a DocumentError is one
                raise self._fault(f"line {number:,}: {error}") from error
            self.whole_bytes += len(line)
        self._check_rows(found)
        return found

    def _lines(self, file: BufferedRandom) -> Iterator[bytes]:
        while line := file.readline(MAX_BYTES + 1):
            if not line.endswith(b"\n"):
                # Of the first line, only one that is torn off can be ours.
                if len(line) > MAX_BYTES or not (self.whole_bytes or self._first_line().startswith(line)):
                    raise self._fault("it holds a line that loadcast does not write")
                return
            yield line

    def _first_line(self) -> bytes:
        return _line(self.header.document())

    def _check_header(self, content: Mapping[str, Any]) -> None:
        """Raise ArtefactError for the first line of another journal."""
        expected = self.header.document()
        if content.get("journal") != _KIND:
            raise DocumentError("it does not begin as a journal does")
        for key, meaning in (
            (FORMAT_VERSION, "another format"),
            ("loadcast", "another version of loadcast"),
            ("configuration", "another configuration"),
            ("statistics", "other hourly statistics"),
            ("space", "another space"),
            ("folds", "another number of folds"),
            ("stepDays", "another step"),
        ):
            if type(content.get(key)) is not type(expected[key]) or content[key] != expected[key]:
                raise ArtefactError(f"The journal {shown(self.path)} is of {meaning}. {_ELSE}")

    def _unit(self, content: Mapping[str, Any]) -> Unit | None:
        """The trial and fold of a line; None of a trial that is not asked for. Raises DocumentError."""
        trial, fold = content.get("trial"), content.get("fold")
        if type(trial) is not int or type(fold) is not int or trial < 0 or not 1 <= fold <= self.header.folds:
            raise DocumentError("it has no trial and fold that there are")
        if trial >= len(self.trials):
            return None
        if content.get("changes") != dict(self.trials[trial].changes):
            raise DocumentError(f"its settings are not those of trial {trial}")
        return trial, fold

    def _check_rows(self, found: Mapping[Unit, TrialTally]) -> None:
        """The tallies of a fold have to be of the same rows."""
        rows = {fold: tally.rows for (_, fold), tally in found.items()}
        if any((tally.rows != rows[fold]).any() for (_, fold), tally in found.items()):
            raise self._fault("its lines are not of the same rows")

    def _fault(self, what: str) -> ArtefactError:
        return ArtefactError(f"The journal {shown(self.path)} cannot be used: {what}. {_ELSE}")


def _write_header(file: BufferedRandom, header: Header) -> None:
    file.seek(0)
    file.truncate()
    file.write(_line(header.document()))
    file.flush()


def _line(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, allow_nan=False) + "\n").encode()
