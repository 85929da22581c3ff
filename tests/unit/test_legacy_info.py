"""The pickled `info` of the public sample: plain values are read, and nothing is ever executed."""

from __future__ import annotations

import collections
import contextlib
import decimal
import json
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from artefact_files import PUBLIC_SAMPLE_INFO
from loadcast.artefacts import public_sample as pickled
from loadcast.artefacts.public_sample import load_legacy_info
from loadcast.errors import ArtefactError

PROTOCOLS = range(6)
#: Written by Python 2, protocols 0 and 2: its strings are bytes.
PYTHON_2_INFO = (
    b"(dp0\nS'duration'\np1\nS'ONE_MONTH'\np2\nsS'columns'\np3\n(lp4\nI3\naI01\naF0.5\naL5L\naVa\\u2026\np5\nas.",
    b"\x80\x02}q\x00(U\x08durationq\x01U\tONE_MONTHq\x02U\x07columnsq\x03]q\x04(K\x03\x88G?\xe0\x00\x00\x00\x00\x00\x00"
    b"\x8a\x01\x05X\x04\x00\x00\x00a\xe2\x80\xa6q\x05eu.",
)


class Call:
    """Pickles to a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class State:
    """Pickles to an object with a state."""

    def __init__(self) -> None:
        self.value = 1


plain = st.recursive(
    st.booleans()
    | st.integers(-(2**900), 2**900)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_samples_info_is_read_from_each_protocol(protocol: int) -> None:
    assert load_legacy_info(pickle.dumps(PUBLIC_SAMPLE_INFO, protocol)) == PUBLIC_SAMPLE_INFO


@pytest.mark.parametrize("data", PYTHON_2_INFO)
def test_python_2s_strings_are_read_as_text(data: bytes) -> None:
    assert load_legacy_info(data) == {"duration": "ONE_MONTH", "columns": [3, True, 0.5, 5, "a…"]}


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4), st.sampled_from(PROTOCOLS))
def test_plain_values_come_back_as_they_are(value: dict[str, Any], protocol: int) -> None:
    try:
        data = pickle.dumps(value, protocol)
    except (ValueError, UnicodeError):  # a text that this protocol cannot hold
        return
    assert load_legacy_info(data) == value
    assert load_legacy_info(pickle._dumps(value, protocol)) == value  # type: ignore[attr-defined]  # the slow pickler


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        None,
        b"bytes",
        bytearray(b"bytes"),
        {1},
        frozenset({1}),
        1j,
        decimal.Decimal(1),
        collections.OrderedDict(a=1),
        print,
        State(),
        Call(eval, "1"),
    ],
    ids=repr,
)
def test_what_is_not_plain_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(ArtefactError, match="Wanted plain dicts, lists, strings and numbers"):
        load_legacy_info(pickle.dumps({"key": value}, protocol))


def _attacks(mark: Path) -> dict[str, bytes]:
    """Pickles that make the file `mark` when Python's own reader loads them."""
    code = f"open({str(mark)!r}, 'w')"
    text = code.encode()
    short = struct.pack("<B", len(text)) + text
    return {
        **{f"reduce, protocol {number}": pickle.dumps(Call(eval, code), number) for number in PROTOCOLS},
        "a key of a dict": pickle.dumps({"a": [Call(eval, code)]}),
        "instance": b"(S" + repr(code).encode() + b"\nibuiltins\neval\n.",
        "object": b"(cbuiltins\neval\nX" + struct.pack("<I", len(text)) + text + b"o.",
        "new object": b"\x80\x02cbuiltins\neval\nU" + short + b"\x85R.",
        "stack global": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c" + short + b"\x85R.",
        "after a whole value": b"}.cbuiltins\neval\n(U" + short + b"tR.",
        "before a whole value": b"cbuiltins\neval\n(U" + short + b"tR0}.",
    }


@pytest.mark.parametrize("name", _attacks(Path("mark")))
def test_no_attack_executes_anything(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(ArtefactError):
        load_legacy_info(_attacks(mark)[name])
    assert not mark.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    data = _attacks(tmp_path / "mark")["reduce, protocol 4"]
    pickle.loads(data).close()
    assert (tmp_path / "mark").exists()


def test_no_opcode_that_looks_up_a_name_or_calls_is_allowed() -> None:
    allowed = {*pickled.NUMBERS, *pickled.TEXTS, *pickled.BYTE_TEXTS, *pickled.CONSTANTS, *pickled.PUTS, *pickled.GETS}
    allowed |= {*pickled.STACK_STEPS, "PROTO", "FRAME", "STOP"}
    known = {opcode.name for opcode in pickletools.opcodes}
    others = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
    others |= {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
    assert allowed <= known - others
    assert others <= known


def _nested(levels: int) -> bytes:
    return b"}X\x01\x00\x00\x00a" + b"]" * levels + b"a" * (levels - 1) + b"s."


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (b".", "left beside"),
        (b"}", "damaged"),
        (b"}}.", "left beside"),
        (b"(}.", "left beside"),
        (b"}.more", "something follows"),
        (b"}0.", "left beside"),
        (b"0.", "more values than it has made"),
        (b"}(s.", "more values than it has made"),
        (b"1.", "damaged"),
        (b"h\x05.", "damaged"),
        (b"g7\n.", "damaged"),
        (b"I12", "damaged"),
        (b"Iten\n.", "damaged"),
        (b"\x80\x07}.", "protocol is 7"),
        (b"\x95\xff\xff\xff\xff\xff\xff\xff\xff}.", "cut short"),
        (b"\x8a\xff" + b"\x7f" * 255 + b".", "more than 300 digits"),
        (b"I" + b"1_" * 1000 + b"1\n.", "more than 300 digits"),
        (b"(.", "a mark stands"),
        (b"}(q\0U\1ah\0s.", "more values than it has made"),
        (b"X\xff\xff\xff\xffab.", "damaged"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.", "damaged"),
        (b"\x8b\xff\xff\xff\xff.", "damaged"),
        (b"\x8b\x00\x00\x00\x01" + b"\1" * 100 + b".", "damaged"),
        (b"I" + b"9" * 100_000 + b"\n.", "more than 300 digits"),
        (b"U\x01\xff.", "damaged"),
        (b"V\\ud800\n.", "damaged"),
        (b"S'a'+'b'\n.", "holds a str"),
        (b"S'\\\n.", "damaged"),
        (b"Sprint()\n.", "damaged"),
        (b"]K\x01K\x02s.", "adds to a list as if that were a dict"),
        (b"}K\x01a.", "adds to a dict as if that were a list"),
        (b"}K\x01K\x02s.", "key of a dict is not a string"),
        (b"}(U\x01au.", "damaged"),
        (b"].", "holds a list, wanted a dict"),
        (b"K\x05.", "holds a int, wanted a dict"),
        (b'{"duration": "ONE_MONTH"}', "damaged"),
        (_nested(pickled.MAX_DEPTH + 2), "deeper than"),
        (_nested(100_000), "deeper than"),
        (b"}q\x00U\x01ah\x00s.", "deeper than"),  # holds itself
        (b"}U\x01a](" + b"K\x01" * pickled.MAX_VALUES + b"es.", "more than"),
        (b" " * (pickled.MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_damaged_or_hostile_pickle_is_one_error(data: bytes, said: str) -> None:
    with pytest.raises(ArtefactError, match=said):
        load_legacy_info(data)


def test_a_small_pickle_cannot_grow_by_sharing() -> None:
    shared: list[Any] = ["x"]
    for _ in range(pickled.MAX_DEPTH - 4):
        shared = [shared] * 10
    with pytest.raises(ArtefactError, match="holds more than"):
        load_legacy_info(pickle.dumps({"a": shared}))
    with pytest.raises(ArtefactError, match="texts are longer"):
        load_legacy_info(pickle.dumps({"a": ["x" * 100_000] * 1_000}))


def test_what_is_shared_comes_back_as_copies() -> None:
    columns = ["year"]
    info = load_legacy_info(pickle.dumps({"a": columns, "b": columns}))
    info["a"].append("month")
    assert info["b"] == ["year"]
    assert json.dumps(info)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_dict_or_one_error(data: bytes) -> None:
    with contextlib.suppress(ArtefactError):
        assert isinstance(load_legacy_info(data + b"."), dict)


@given(st.data())
def test_a_changed_byte_is_a_dict_of_plain_values_or_one_error(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps(PUBLIC_SAMPLE_INFO, data.draw(st.sampled_from(PROTOCOLS))))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArtefactError):
        assert json.dumps(load_legacy_info(bytes(content)))
