"""The `info` that the public sample pickled, read without unpickling.

A pickle is a program that may call anything.
Python's own `pickletools.genops` only lists its opcodes.
Those below make a dict, a list, a string or a number; any other ends the reading.
None of them looks up a name, makes an object or calls a function.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from typing import Any

from loadcast.errors import ArtefactError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000
MAX_CHARACTERS = 4 << 20
MAX_DIGITS = 300  # reading a decimal number takes the square of its digits
_NEWEST_PROTOCOL = 5  # for plain values it has the opcodes of protocol 4
_MAX_BITS = 1_024
_LONG_NUMBER = re.compile(rb"[0-9_]{%d}" % (MAX_DIGITS + 1))
_FRAME_BYTES = 8  # of the size that follows the opcode
_MARK = object()

#: Opcodes whose argument is the value; Python 2's strings are bytes.
NUMBERS = {"INT", "LONG", "FLOAT", "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "LONG4"}
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
BYTE_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "MARK": lambda: _MARK,
}
PUTS, GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}


class _Refused(Exception):
    """What is wrong with the bytes, in a few words."""


def load_legacy_info(data: bytes, shown: str = "The pickled info") -> dict[str, Any]:
    """The dict in a pickle of protocol 0 to 5, of nothing but dicts with string keys, lists, strings and numbers.

    The result shares nothing and has no loops. Raises ArtefactError, which calls the bytes `shown`, for anything else,
    and for what is larger or deeper than an `info` can be.
    """
    try:
        value = _Copy().of(_load(data))
        if not isinstance(value, dict):
            raise _Refused(f"it holds a {type(value).__name__}, wanted a dict")
    except (_Refused, LookupError, ValueError, OverflowError) as error:
        reason = str(error) if isinstance(error, _Refused) else "it is cut short or damaged"
        raise ArtefactError(
            f"{shown} is not read: {reason}. Wanted plain dicts, lists, strings and numbers. "
            "Run ETL and training anew: they write info as JSON."
        ) from error
    return value


def _load(data: bytes) -> Any:
    """The value that the pickle leaves on the stack; dicts and lists in it may be shared, or hold themselves."""
    if len(data) > MAX_BYTES:
        raise _Refused(f"it is larger than {MAX_BYTES} bytes")
    if _LONG_NUMBER.search(data):
        raise _Refused(f"it holds a number of more than {MAX_DIGITS} digits")
    machine, end = _Machine(), 0
    for opcode, argument, position in pickletools.genops(data):
        end = (position or 0) + 1
        if opcode.name == "FRAME" and (argument or 0) > len(data) - end - _FRAME_BYTES:
            raise _Refused("it is cut short")
        if opcode.name != "STOP":
            machine.step(opcode.name, argument)
    if end != len(data) or len(machine.stack) != 1:
        raise _Refused("something follows, or is left beside, its value")
    return machine.stack[0]


class _Machine:
    """A stack with marks on it, and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Do what the opcode says."""
        if name in NUMBERS:
            self.stack.append(_bounded(argument))
        elif name in TEXTS:
            self.stack.append(argument)
        elif name in BYTE_TEXTS:
            self.stack.append(argument.encode("latin-1").decode("utf-8"))
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in PUTS:
            self._memo[argument] = self.stack[-1]
        elif name in GETS:
            self.stack.append(self._memo[argument])
        elif name in STACK_STEPS:
            STACK_STEPS[name](self)
        elif name == "PROTO" and argument > _NEWEST_PROTOCOL:
            raise _Refused(f"its protocol is {argument}, wanted at most {_NEWEST_PROTOCOL}")
        elif name not in ("PROTO", "FRAME"):
            raise _Refused(f"the opcode {name} makes, calls or names something else")

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Refused("it takes more values than it has made")
        return self.stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _top(self, kind: type) -> Any:
        top = self.stack[-1]
        if not isinstance(top, kind):
            raise _Refused(f"it adds to a {type(top).__name__} as if that were a {kind.__name__}")
        return top

    def pop(self) -> None:
        self._pop()

    def pop_mark(self) -> None:
        self._pop_to_mark()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def make_dict(self) -> None:
        self.stack.append(_into({}, self._pop_to_mark()))

    def make_list(self) -> None:
        self.stack.append(self._pop_to_mark())

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

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self.stack[-1]


STACK_STEPS: dict[str, Callable[[_Machine], None]] = {
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "DICT": _Machine.make_dict,
    "LIST": _Machine.make_list,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "MEMOIZE": _Machine.memoize,
}


def _bounded(number: int | float) -> int | float:
    if isinstance(number, int) and number.bit_length() > _MAX_BITS:
        raise _Refused(f"it holds a number of more than {MAX_DIGITS} digits")
    return number


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
            self._characters += len(value.encode("utf-8"))  # refuses halves of pairs
            if self._characters > MAX_CHARACTERS:
                raise _Refused(f"its texts are longer than {MAX_CHARACTERS} characters together")
        elif value is _MARK:
            raise _Refused("a mark stands where a value is wanted")
        return value
