"""What a script tells about its run: numbers, texts and files for the history, wherever the script runs.

A submitted run names a file by LOADCAST_RUN_LOG, and each call appends a line to it. Without that variable nothing is
written, so scripts run anywhere as they are.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Literal, NamedTuple

from loadcast.errors import ConfigError, InputError, OutputError
from loadcast.secrets import shown, without_secrets

VARIABLE = "LOADCAST_RUN_LOG"
#: The folder, in the working directory of a script, whose files are brought back from the target.
OUTPUTS = "outputs"
LONGEST_NAME = 250
LONGEST_TEXT = 2_000
#: A line, its end included: what one write puts down whole.
LONGEST_LINE = 4_096
#: Most numbers in one call.
MOST_VALUES = 100_000
#: Of a larger file only the beginning is read.
MOST_READ_BYTES = 64 << 20
_VALUES_A_LINE = 100
_NAME = re.compile(rf"[A-Za-z0-9_./ -]{{1,{LONGEST_NAME}}}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_. -]+")

Kind = Literal["metric", "text", "file"]
Address = str | os.PathLike[str]


class Logged(NamedTuple):
    """What was logged in one call, or a part of it: a metric's numbers, a text, or a file's path below `outputs/`.

    `time_s` is seconds since 1970, by the clock of the machine that ran the script.
    """

    kind: Kind
    name: str
    time_s: float
    values: tuple[float, ...] = ()
    text: str = ""


def clean_name(text: str) -> str:
    """A text as part of a name: what names may not hold, slashes included, becomes a `-`."""
    return _NOT_IN_NAMES.sub("-", text).strip(". ") or "-"


class RunLogger:
    """Logs into one file; None, and everything is checked but nothing is written."""

    def __init__(self, path: Address | None) -> None:
        self._path = path

    @property
    def enabled(self) -> bool:
        """Whether anybody asked for the log."""
        return self._path is not None

    def log(self, name: str, value: float | Iterable[float]) -> None:
        """Log a number, or several in order; numbers of one name make a series.

        `name` is of letters, digits and `_ . / -` and spaces. NaN is allowed, infinite numbers are not. Raises
        ConfigError for another name or value, OutputError where the log cannot be written.
        """
        _check_name(name)
        values = _numbers(name, value)
        parts = [values[begin : begin + _VALUES_A_LINE] for begin in range(0, len(values), _VALUES_A_LINE)]
        self._append("metric", name, [[None if math.isnan(number) else number for number in part] for part in parts])

    def log_text(self, name: str, value: str) -> None:
        """Log a text, without the secrets in it, cut after 2,000 characters. Raises as `log` does."""
        _check_name(name)
        if not isinstance(value, str):
            raise ConfigError(f"log_text {name!r}: found a {type(value).__name__}, wanted a text.")
        self._append("text", name, [_fitting(shown(value, LONGEST_TEXT))])

    def log_file(self, path: Address) -> None:
        """Keep a file with the run: one outside `outputs/` is copied there, by its name.

        Raises InputError where there is no such file, OutputError where it cannot be copied.
        """
        if not os.path.isfile(path):
            raise InputError(f"log_file: found no file {path}, wanted one that is written already.")
        if self.enabled:
            self._append("file", "file", [_fitting(without_secrets(_kept(os.path.abspath(path))))])

    def _append(self, kind: Kind, name: str, contents: list[object]) -> None:
        if self._path is None:
            return
        now_s = round(time.time(), 3)
        lines = [_line({"time": now_s, "kind": kind, "name": name, "value": content}) for content in contents]
        try:
            _append_lines(self._path, lines)
        except OSError as error:
            raise OutputError(
                f"Cannot write {self._path}, which {VARIABLE} names: {error.strerror or error}. Name another file."
            ) from error


def run_logger() -> RunLogger:
    """The logger of the run that this process belongs to; where it belongs to none, one that writes nothing."""
    return RunLogger(os.environ.get(VARIABLE) or None)


def read_logged(path: Address) -> list[Logged]:
    """What a log holds, in order; nothing where there is none.

    What is no line of a log is passed over, a torn one of a writer that was killed among it. Raises InputError where
    the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_READ_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    return list(_parsed(content))


def series(logged: Iterable[Logged]) -> dict[str, list[tuple[float, float]]]:
    """Metric → its (time in s, number) in the order of logging."""
    numbers: dict[str, list[tuple[float, float]]] = {}
    for item in logged:
        if item.kind == "metric":
            numbers.setdefault(item.name, []).extend((item.time_s, value) for value in item.values)
    return numbers


def _check_name(name: object) -> None:
    parts = name.split("/") if isinstance(name, str) and _NAME.fullmatch(name) else [""]
    if {"", ".", ".."} & set(parts):
        raise ConfigError(
            f"A logged name: found {name!r:.60}, wanted up to {LONGEST_NAME} letters, digits, spaces and _ . - in "
            "parts between single slashes, such as test/accuracy."
        )


def _numbers(name: str, value: object) -> list[float]:
    try:
        several = None if isinstance(value, (str, bytes, dict)) else iter(value)  # type: ignore[call-overload]
    except TypeError:
        several = None
    given = [value] if several is None else list(islice(several, MOST_VALUES + 1))
    if len(given) > MOST_VALUES:
        raise ConfigError(f"log {name!r}: found more than {MOST_VALUES:,} numbers, wanted fewer in a call.")
    return [_number(name, item) for item in given]


def _number(name: str, value: object) -> float:
    # Not int or float: numbers of numpy are neither.
    try:
        number = math.inf if isinstance(value, (str, bytes, bool)) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise ConfigError(f"log {name!r}: found {shown(repr(value), 60)}, wanted a finite number or nan.")
    return number


def _fitting(text: str) -> str:
    """So much of a text as a line has room for, whatever its signs cost."""
    while len(json.dumps(text)) > LONGEST_LINE - 8 * 64:
        text = f"{text[: len(text) * 3 // 4]}…"
    return text


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _append_lines(path: Address, lines: list[bytes]) -> None:
    """Append under a lock, so that no writer's lines stand between those of another."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = [b"\n", *lines]  # after the torn line of a writer that was killed
        for line in lines:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _kept(source: str) -> str:
    """The file's path below `outputs/`, copied there where it lies elsewhere."""
    import shutil  # Here, as scripts that log numbers alone do without.

    outputs, target, name = os.path.realpath(OUTPUTS), os.path.realpath(source), os.path.basename(source)
    if os.path.commonpath([outputs, target]) == outputs:
        return os.path.relpath(target, outputs)
    fresh = os.path.join(outputs, f".{name}-{os.getpid()}")
    try:
        os.makedirs(outputs, exist_ok=True)
        try:
            shutil.copyfile(source, fresh)
            os.replace(fresh, os.path.join(outputs, name))
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh)
            raise
    except OSError as error:
        raise OutputError(f"Cannot copy {source} to {outputs}: {error.strerror or error}.") from error
    return name


def _parsed(content: bytes) -> Iterator[Logged]:
    for line in content.split(b"\n"):
        if line and len(line) < LONGEST_LINE and (logged := _read_line(line)):
            yield logged


def _read_line(line: bytes) -> Logged | None:
    try:
        fields = json.loads(line)
        _check_name(fields["name"])
        name, value, time_s = fields["name"], fields["value"], float(fields["time"])
        kind: Kind = fields["kind"]
        if not math.isfinite(time_s):
            return None
        if kind == "metric":
            return Logged(
                kind, name, time_s, tuple(math.nan if item is None else _number(name, item) for item in value)
            )
        if kind in ("text", "file") and isinstance(value, str):
            return Logged(kind, name, time_s, text=value)
    except (ConfigError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        pass
    return None
