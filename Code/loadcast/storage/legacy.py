"""What scripts written for the public sample expect: its helper functions, and reading the `info` that it pickled.

A pickle is a program that may call anything. Here it is read by an interpreter of our own that can execute nothing:
each opcode that makes a dict, a list, a string or a number has a method below, and every other one ends the reading.
None looks up a name, makes an object or calls a function. (Python's `pickletools` describes each opcode.)
"""

from __future__ import annotations

import ast
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadcast.errors import ArtefactError, ConfigError, InputError, OutputError

if TYPE_CHECKING:
    from loadcast.storage.blob.container import Container

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000
MAX_CHARACTERS = 4 << 20
_NEWEST_PROTOCOL = 5  # for plain values it has the opcodes of protocol 4
_MAX_DIGITS = 300  # reading a decimal number takes the square of its digits
_MAX_INTEGER_BYTES = 128
_QUOTED = re.compile(rb"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def attach_storage_container(spark: Any, account: str, key: str | None) -> None:
    """Let a running Spark session read and write the containers of an account by its own drivers.

    `account` is a storage account's name, its host or its blob endpoint; `key` refers to an account key, a SAS or a
    connection string, as env:NAME or file:PATH. What the session has been told already stays. Raises ConfigError.
    """
    from loadcast.storage.blob.hadoop import Abfs, Wasb

    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    place = _container(account, "$root", key)
    settings = Abfs().settings(place, hadoop.get)
    if place.access.kind == "key":  # WASB takes a SAS for one container only
        settings = (settings or {}) | (Wasb().settings(place, hadoop.get) or {})
    if settings is None:
        raise ConfigError(
            f"{account}: Spark's own drivers want a key or SAS. "
            "Give key as env:NAME or file:PATH; for others leave reading and writing to loadcast."
        )
    for name, value in settings.items():
        if not hadoop.get(name):
            hadoop.set(name, value)


def write_blob(info: dict[str, Any], filename: str, container: str, account: str, key: str | None) -> None:
    """Write `info` as JSON to the local file and to the blob of the same name; account and key as above.

    Raises ConfigError, or OutputError where it cannot be written.
    """
    try:
        data = (json.dumps(info, indent=2) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = "a number in it has thousands of digits" if "int_max_str" in str(error) else str(error)
        raise OutputError(f"info cannot be JSON: {reason}. Wanted dicts, lists, strings and numbers.") from error
    _write_file(filename, data)
    _container(account, container, key).put(Path(filename).as_posix(), data)


def read_blob(localFilename: str, blobName: str, container: str, account: str, key: str | None) -> dict[str, Any]:
    """Download a blob to the local file, and give the `info` in it, which is JSON or, from the public sample, a pickle.

    Raises ConfigError, InputError where there is no such blob, ArtefactError where it is no info.
    """
    place = _container(account, container, key)
    found = place.get(blobName)
    if found is None:
        raise InputError(f"There is no blob {place.root.at(blobName)}. Check its name.")
    data = found[0]
    _write_file(localFilename, data)
    if not data.lstrip().startswith(b"{"):
        return load_legacy_info(data)
    try:
        return dict(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ArtefactError(
            f"{place.root.at(blobName)} is damaged: it is not JSON. Run ETL and training anew."
        ) from error


def _container(account: str, container: str, key: str | None) -> Container:
    from loadcast.storage.blob.access import resolve_access
    from loadcast.storage.blob.container import Container
    from loadcast.storage.blob.location import parse_blob_url

    host = account if "." in account else f"{account}.blob.core.windows.net"
    endpoint = account.rstrip("/") if "://" in account else f"https://{host}"
    location, signature = parse_blob_url(f"{endpoint}/{container}")
    return Container(location, resolve_access(location, key, signature))


def _write_file(name: str, data: bytes) -> None:
    fresh = Path(f"{name}.part")
    try:
        fresh.write_bytes(data)
        os.replace(fresh, name)
    except (OSError, ValueError) as error:
        raise OutputError(f"Cannot write {name}: {getattr(error, 'strerror', None) or error}.") from error


class _Refused(Exception):
    """What is wrong with the bytes, in a few words."""


def load_legacy_info(data: bytes) -> dict[str, Any]:
    """The dict in a pickle of protocol 0 to 5, of nothing but dicts with string keys, lists, strings and numbers.

    The result shares nothing and has no loops. Raises ArtefactError for anything else, and for what is larger or
    deeper than an `info` can be.
    """
    try:
        if len(data) > MAX_BYTES:
            raise _Refused(f"it is larger than {MAX_BYTES} bytes")
        value = _Copy().of(_Machine(data).run())
        if not isinstance(value, dict):
            raise _Refused(f"it holds a {type(value).__name__}, wanted a dict")
    except (_Refused, IndexError, KeyError, ValueError, OverflowError, SyntaxError, struct.error) as error:
        reason = str(error) if isinstance(error, _Refused) else "it is cut short or damaged"
        raise ArtefactError(
            f"The pickled info is not read: {reason}. Wanted plain dicts, lists, strings and numbers. "
            "Run ETL and training anew: they write info as JSON."
        ) from error
    return value


class _Machine:
    """The pickle machine, without the opcodes that could do harm: a stack, marks on it, and a memo."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that the pickle leaves on the stack; dicts and lists in it may be shared, or hold themselves."""
        while (opcode := self._take(1)) != b".":
            step = _STEPS.get(opcode)
            if step is None:
                raise _Refused(f"opcode {opcode!r} at byte {self._at - 1} makes, calls or names something else")
            step(self)
        if self._at != len(self._data) or len(self._stack) != 1 or self._marks:
            raise _Refused("something follows, or is left beside, its value")
        return self._stack[0]

    # Reading.

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise _Refused("it is cut short")
        self._at += size
        return taken

    def _line(self) -> bytes:
        end = self._data.index(b"\n", self._at)
        line = self._data[self._at : end]
        self._at = end + 1
        return line

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _digits(self) -> bytes:
        line = self._line()
        if len(line) > _MAX_DIGITS:
            raise _Refused(f"it holds a number of more than {_MAX_DIGITS} characters")
        return line

    # The stack.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise _Refused("it takes more values than it has made")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _top(self, kind: type) -> Any:
        top = self._stack[-1]
        if not isinstance(top, kind):
            raise _Refused(f"it adds to a {type(top).__name__} as if that were a {kind.__name__}")
        return top

    # The opcodes.

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop(self) -> None:
        self._pop()

    def pop_mark(self) -> None:
        self._pop_to_mark()

    def duplicate(self) -> None:
        self._push(self._stack[-1])

    def protocol(self) -> None:
        if (number := self._unpack("<B")) > _NEWEST_PROTOCOL:
            raise _Refused(f"its protocol is {number}, wanted at most {_NEWEST_PROTOCOL}")

    def frame(self) -> None:
        if self._unpack("<Q") > len(self._data) - self._at:
            raise _Refused("it is cut short")

    def integer_line(self) -> None:
        line = self._digits()
        self._push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))

    def long_line(self) -> None:
        self._push(int(self._digits().removesuffix(b"L")))

    def float_line(self) -> None:
        self._push(float(self._digits()))

    def long(self, form: str) -> None:
        size = self._unpack(form)
        if not 0 <= size <= _MAX_INTEGER_BYTES:
            raise _Refused(f"it holds an integer of {size} bytes, wanted at most {_MAX_INTEGER_BYTES}")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    def number(self, form: str) -> None:
        self._push(self._unpack(form))

    def text(self, form: str) -> None:
        self._push(self._take(self._unpack(form)).decode("utf-8"))

    def text_line(self) -> None:
        self._push(self._line().decode("raw-unicode-escape").encode("utf-8").decode("utf-8"))  # no halves of pairs

    def quoted_line(self) -> None:
        line = self._line()
        if not _QUOTED.fullmatch(line):
            raise _Refused("it holds a text without quotes")
        self._push(ast.literal_eval("b" + line.decode("ascii")).decode("utf-8"))

    def make_dict(self) -> None:
        self._push(_into({}, self._pop_to_mark()))

    def make_list(self) -> None:
        self._push(self._pop_to_mark())

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        _into(self._top(dict), [key, value])

    def set_items(self) -> None:
        items = self._pop_to_mark()
        _into(self._top(dict), items)

    def append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def append_all(self) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def put(self, form: str | None) -> None:
        self._memo[int(self._digits()) if form is None else self._unpack(form)] = self._stack[-1]

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, form: str | None) -> None:
        self._push(self._memo[int(self._digits()) if form is None else self._unpack(form)])


def _into(target: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    """Add keys and values, which alternate, to a dict."""
    keys, values = items[0::2], items[1::2]
    if not all(isinstance(key, str) for key in keys):  # numbers could be chosen so that all fall together
        raise _Refused("a key of a dict is not a string")
    target.update(zip(keys, values, strict=True))
    return target


class _Copy:
    """A copy of a value in which nothing is shared, so that it is as large as it looks."""

    def __init__(self) -> None:
        self._values = 0
        self._characters = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise _Refused(f"it is deeper than {MAX_DEPTH} levels, or holds more than {MAX_VALUES} values")
        if isinstance(value, dict):
            return {self.of(key, depth + 1): self.of(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, str):
            self._characters += len(value)
            if self._characters > MAX_CHARACTERS:
                raise _Refused(f"its texts are longer than {MAX_CHARACTERS} characters together")
        return value


_Step = Callable[[_Machine], None]


def _with(step: Callable[[_Machine, Any], None], argument: Any) -> _Step:
    return lambda machine: step(machine, argument)


#: Every opcode that is understood, as in Python's pickletools.
_STEPS: dict[bytes, _Step] = {
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": _Machine.duplicate,
    b"\x80": _Machine.protocol,
    b"\x95": _Machine.frame,
    b"I": _Machine.integer_line,
    b"L": _Machine.long_line,
    b"F": _Machine.float_line,
    b"J": _with(_Machine.number, "<i"),
    b"K": _with(_Machine.number, "<B"),
    b"M": _with(_Machine.number, "<H"),
    b"G": _with(_Machine.number, ">d"),
    b"\x8a": _with(_Machine.long, "<B"),
    b"\x8b": _with(_Machine.long, "<i"),
    b"\x88": lambda machine: machine._push(True),
    b"\x89": lambda machine: machine._push(False),
    b"S": _Machine.quoted_line,
    b"V": _Machine.text_line,
    b"T": _with(_Machine.text, "<I"),
    b"U": _with(_Machine.text, "<B"),
    b"X": _with(_Machine.text, "<I"),
    b"\x8c": _with(_Machine.text, "<B"),
    b"\x8d": _with(_Machine.text, "<Q"),
    b"}": lambda machine: machine._push({}),
    b"]": lambda machine: machine._push([]),
    b"d": _Machine.make_dict,
    b"l": _Machine.make_list,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"a": _Machine.append,
    b"e": _Machine.append_all,
    b"p": _with(_Machine.put, None),
    b"q": _with(_Machine.put, "<B"),
    b"r": _with(_Machine.put, "<I"),
    b"\x94": _Machine.memoize,
    b"g": _with(_Machine.get, None),
    b"h": _with(_Machine.get, "<B"),
    b"j": _with(_Machine.get, "<I"),
}
