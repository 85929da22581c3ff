"""The YAML files of aml_config: taken as they are written, replaced whole, and refused where they are hostile."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.errors import ConfigError, OutputError
from loadcast.experiments.yaml_files import read_mapping, write_mapping

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
BOMB = "\n".join(["l0: &l0 [x, x]", *(f"l{n}: &l{n} [*l{n - 1}, *l{n - 1}]" for n in range(1, 60))])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.compute"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@given(mapping=st.dictionaries(TEXT, VALUES, max_size=5), heading=TEXT.filter(str.isprintable))
def test_what_is_written_is_read(folder: Path, mapping: dict[str, Any], heading: str) -> None:
    write_mapping(folder / "any", mapping, heading)
    assert read_mapping(folder / "any") == mapping


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.10", "1.10"),
        ("1e3", "1e3"),
        ("2016-06-01", "2016-06-01"),
        ("no", "no"),
        ("off", "off"),
        ("<<", "<<"),
        ("+5", "+5"),
        ("-0", "-0"),
        ("-12", -12),
        ("22", 22),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("nullable", "nullable"),
        ("truely", "truely"),
        ("'22'", "22"),
    ],
)
def test_a_value_is_what_stands_there(file: Path, written: str, wanted: object) -> None:
    file.write_text(f"key: {written}\n")
    value = read_mapping(file)["key"]
    assert (type(value), value) == (type(wanted), wanted)


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xef\xbb\xbf", b"---\n", b"null\n"])
def test_an_empty_file_has_no_fields(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert read_mapping(file) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB.encode(), r"an alias \(\*name\) stands in it"),
        (b"a: &a {b: 1}\nc:\n  <<: *a\n", r"an alias \(\*name\) stands in it"),
        (b"a: &a [*a]", r"an alias \(\*name\) stands in it"),
        (b"a: 1\nb: 2\na: 3\n", "the key 'a' stands in it twice"),
        (b"a: {b: 1, b: 1}", "the key 'b' stands in it twice"),
        (b"a: 1\n'a': 2\n", "the key 'a' stands in it twice"),
        (b"? [1, 2]\n: 3\n", "a list or mapping stands in it as a key"),
        (b"5: 1", "found a field named '5', wanted text"),
        (b"? ", "found a field named 'None', wanted text"),
        (b"true: 1", "found a field named 'True', wanted text"),
        (b"- a\n- b\n", "found a list, wanted fields and values"),
        (b"text", "found a str, wanted fields and values"),
        (b"a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        (b"a: !!int 'x'", "a number or date in it cannot be"),
        *((f"a: !!{tag}".encode(), "a tag .* does not fit") for tag in ("timestamp x", "int ''", "float ''", "bool x")),
        (b"a: !!timestamp 9999-99-99", "a number or date in it cannot be"),
        (b"a: !!float x", "a number or date in it cannot be"),
        (b"a: !!map x", "expected a mapping node, but found scalar, line 1"),
        (b"a: 1\n---\nb: 2\n", "expected a single document"),
        (b"a: b: c", "mapping values are not allowed here, line 1"),
        (b"\x00", "unacceptable character"),
        (b"a: \x1b[31m", "unacceptable character"),
        (b"\xff\xfe\x00\x80", "is not plain YAML"),
        (b"[" * 30_000, "it is too deep"),
        (b"a: " + b"[" * 100 + b"]" * 100, "it is too deep, more than 100 levels"),
        (b"- " * 101, "it is too deep, more than 100 levels"),
        (b"a: " + b"9" * 30_000, "a number or date in it cannot be"),
        (b"x" * 65_537, "larger than such a file can be, 64 kB"),
    ],
)
def test_a_hostile_file_is_one_line_that_names_it(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        read_mapping(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


#: What YAML has signs for, in any order.
_SIGNS = [
    "a",
    ": ",
    "\n",
    "  ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&x ",
    "*x",
    "'",
    '"',
    "|",
    ">",
    "#",
    "%",
    "@",
    "~",
]
_TAGS = [f"!!{name} " for name in ("int", "float", "bool", "null", "timestamp", "binary", "set", "omap", "pairs", "x")]


@given(content=st.lists(st.sampled_from(_SIGNS + _TAGS) | TEXT, max_size=12).map("".join) | st.binary(max_size=60))
def test_whatever_stands_in_a_file_it_is_fields_or_one_error(folder: Path, content: str | bytes) -> None:
    file = folder / "hostile"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        fields = read_mapping(file)
    except ConfigError:
        return
    assert all(isinstance(name, str) for name in fields)


def test_a_hundred_levels_are_read(file: Path) -> None:
    file.write_text("a: " + "[" * 99 + "]" * 99)
    value, levels = read_mapping(file)["a"], 1
    while value:
        (value,), levels = value, levels + 1
    assert levels == 99


def test_no_value_is_quoted(file: Path) -> None:
    file.write_text("password: 'hunter22\nname: x: hunter22\n")
    with pytest.raises(ConfigError) as caught:
        read_mapping(file)
    assert "hunter22" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none: No such file or directory\. Wanted a YAML file such as"):
        read_mapping(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_mapping(tmp_path)


def test_a_file_is_readable_for_all_and_has_its_heading(file: Path) -> None:
    before = os.umask(0o077)
    try:
        write_mapping(file, {"b": 1, "a": 2}, "First line.\nSecond.")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.read_text() == "# First line.\n# Second.\nb: 1\na: 2\n"


def test_a_file_is_replaced_whole_or_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mapping(file, {"a": 1}, "")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("loadcast.experiments.yaml_files.os.fsync", fail)
    with pytest.raises(OutputError, match=r"Cannot write .*x\.compute: No space left on device"):
        write_mapping(file, {"a": 2}, "")
    assert read_mapping(file) == {"a": 1}
    assert os.listdir(file.parent) == [file.name]
