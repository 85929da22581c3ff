"""Keys of a service: what a key file may hold and who may read it, and keys that change while a service runs."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from key_files import FIRST, SECOND, THIRD, Clock, write
from loadcast.errors import ConfigError
from loadcast.serving import keys
from loadcast.serving.keys import (
    KEY_VARIABLE,
    MAX_KEY_BYTES,
    KeyFile,
    Keys,
    digest_line,
    new_key,
    read_key,
    service_keys,
)
from loadcast.system.small_files import replace_file

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)
USABLE = VISIBLE.filter(lambda key: not key.lower().startswith("sha256:"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def refusal(path: Path) -> str:
    """What is said of a file that neither a service nor a client takes; both say the same."""
    said = []
    for read in (Keys.read, KeyFile, read_key):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert caught.value.__cause__ is None
        said.append(str(caught.value))
    assert len(set(said)) == 1
    return said[0]


# --- what a file holds -----------------------------------------------------------------------------------------------
def test_a_file_holds_two_keys_or_their_digests(path: Path) -> None:
    found = Keys.read(write(path, FIRST, digest_line(SECOND)))
    assert [found.accepts(key.encode()) for key in (FIRST, SECOND, THIRD, "", digest_line(SECOND))] == [
        "primary",
        "secondary",
        None,
        None,
        None,
    ]
    assert read_key(path) == FIRST


@pytest.mark.parametrize("content", [b"first-key", b"first-key\n", b"first-key\r\n"])
def test_the_end_of_a_line_is_no_part_of_a_key(path: Path, content: bytes) -> None:
    replace_file(path, content, 0o600)
    assert Keys.read(path).accepts(FIRST.encode()) == "primary"
    assert read_key(path) == FIRST


@settings(max_examples=50)
@given(st.lists(USABLE, min_size=1, max_size=2, unique=True), st.binary(max_size=80), st.lists(st.booleans()))
def test_exactly_the_keys_of_the_lines_are_taken(lines: list[str], other: bytes, hashed: list[bool]) -> None:
    hashed += [False, False]
    text = "\n".join(digest_line(line) if digest else line for line, digest in zip(lines, hashed, strict=False))
    found = Keys.parse(text.encode(), "test")
    assert [found.accepts(line.encode()) for line in lines] == ["primary", "secondary"][: len(lines)]
    for sent in (other, lines[0].encode() + b"\n", lines[0].encode()[:-1], lines[0].encode() * 2):
        assert (found.accepts(sent) is not None) == (sent in [line.encode() for line in lines])


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_file_it_is_taken_or_refused_without_being_shown(content: bytes) -> None:
    said = ""
    try:
        digests = Keys.parse(content, "test").digests
    except ConfigError as error:
        said = str(error)
        digests = ()
    assert (1 <= len(digests) <= 2) != bool(said)
    assert said.isprintable()
    assert not said or said.endswith(f"{keys._WANTED}.")
    assert said or all(0x21 <= sign <= 0x7E for line in content.split() for sign in line)


BROKEN = {
    "empty": b"",
    "an empty line": b"\n",
    "an empty second line": b"first-key\n\n",
    "a blank": b"first key\n",
    "a tabulator": b"first\tkey\n",
    "a NUL": b"first-key\0\n",
    "an escape sequence": b"first\x1b[2Jkey\n",
    "a lone carriage return": b"first\rkey\n",
    "a byte order mark": b"\xef\xbb\xbffirst-key\n",
    "UTF-16": "first-key\n".encode("utf-16"),
    "letters of another alphabet": "ключ\n".encode(),
    "no text": b"\xff\xfe",
    "three lines": b"first-key\nsecond-key\nthird-key\n",
    "three lines, the last empty": b"first-key\nsecond-key\n\n",
    "a digest cut off": digest_line(FIRST)[:-1].encode(),
    "a digest too long": digest_line(FIRST).encode() + b"0",
    "a digest of another letter": b"sha256:" + b"g" * 64,
    "a digest in capitals": b"SHA256:" + b"0" * 64,
    "a key too long": b"k" * (MAX_KEY_BYTES + 1),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_lines_that_are_no_keys_are_refused_and_not_shown(path: Path, content: bytes) -> None:
    replace_file(path, content, 0o600)
    said = refusal(path)
    assert "wanted one or two lines of visible ASCII" in said
    for shown in ("first", "second", "third", "ключ", "kkk", "\x1b", hashlib.sha256(FIRST.encode()).hexdigest()[:9]):
        assert shown not in said


def test_a_file_over_the_limit_is_refused_and_not_cut(path: Path) -> None:
    whole = b"k" * MAX_KEY_BYTES + b"\r\n" + b"l" * MAX_KEY_BYTES + b"\r\n"
    replace_file(path, whole, 0o600)
    assert Keys.read(path).accepts(b"l" * MAX_KEY_BYTES) == "secondary"
    replace_file(path, whole + b"l", 0o600)
    assert "more than 8196 bytes" in refusal(path)


# --- who may read it -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o660, 0o666, 0o440, 0o777])
def test_a_file_that_group_or_others_can_use_is_refused(path: Path, mode: int) -> None:
    assert f"Run: chmod 600 {path}" in refusal(write(path, FIRST, mode=mode))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_of_its_owner_alone_is_taken(path: Path, mode: int) -> None:
    assert Keys.read(write(path, FIRST, mode=mode)).accepts(FIRST.encode())


def test_a_link_is_followed_and_what_counts_is_its_target(path: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "elsewhere" / "target", FIRST)
    path.symlink_to(target)
    assert Keys.read(path).accepts(FIRST.encode())
    target.chmod(0o640)
    assert "chmod 600" in refusal(path)


def test_what_cannot_be_read_is_told(path: Path, tmp_path: Path) -> None:
    assert "No such file" in refusal(path)
    tmp_path.chmod(0o700)
    assert "Is a directory" in refusal(tmp_path)
    path.symlink_to(path)
    assert "symbolic links" in refusal(path)
    assert "no file can have such a name" in refusal(Path("a\0b"))


def test_keys_come_through_a_pipe_once() -> None:
    reader, writer = os.pipe()  # as a shell's <(command) makes one
    os.write(writer, f"{FIRST}\n".encode())
    os.close(writer)
    clock = Clock()
    file = KeyFile(f"/dev/fd/{reader}", clock)
    clock.now_s += 10
    assert file.current().accepts(FIRST.encode())
    os.close(reader)
    clock.now_s += 10
    assert file.current().accepts(FIRST.encode())


# --- the environment, and what is sent -------------------------------------------------------------------------------
def test_the_file_wins_over_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "of-the-environment")
    assert read_key(None) == "of-the-environment"
    assert read_key(write(path, FIRST)) == FIRST
    found = service_keys(None)
    assert found is not None
    assert found.current().accepts(b"of-the-environment") == "primary"
    found = service_keys(path)
    assert found is not None
    assert found.current().accepts(b"of-the-environment") is None


def test_without_file_and_variable_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "")
    assert (read_key(None), service_keys(None)) == (None, None)


@pytest.mark.parametrize("value", ["two words", "first\nsecond", "ключ", "\udcff", "k" * 4097, "sha256:1"])
def test_a_variable_that_holds_no_key_is_refused_and_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, value)
    for read in (read_key, service_keys):
        with pytest.raises(ConfigError, match=KEY_VARIABLE) as caught:
            read(None)
        assert value[:5] not in str(caught.value).replace("sha256:<", "")


def test_a_client_sends_a_key_and_no_digest(path: Path) -> None:
    assert read_key(write(path, digest_line(FIRST), SECOND)) == SECOND
    write(path, digest_line(FIRST))
    with pytest.raises(ConfigError, match="wanted the key itself"):
        read_key(path)


# --- comparing, making, not showing ----------------------------------------------------------------------------------
@pytest.mark.parametrize("sent", [b"", b"f", FIRST.encode(), SECOND.encode(), b"\xff" * 9, b"x" * 100_000])
def test_every_key_is_compared_in_constant_time_whatever_was_sent(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(a: Any, b: Any) -> bool:
        compared.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    found = Keys.parse(f"{FIRST}\n{SECOND}".encode(), "test")
    monkeypatch.setattr(keys, "hmac", type("Recorded", (), {"compare_digest": staticmethod(compare)}))
    found.accepts(sent)
    assert compared == [(32, 32), (32, 32)]


def test_a_new_key_is_random_and_fits_in_a_url_and_a_key_file(path: Path) -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) == 43
        assert key.replace("-", "").replace("_", "").isalnum()
        assert Keys.parse(digest_line(key).encode(), "test").accepts(key.encode()) == "primary"


def test_keys_are_not_kept_and_not_shown(path: Path) -> None:
    file = KeyFile(write(path, FIRST, SECOND))
    shown = repr(file) + repr(file.current()) + str(vars(file.current()))
    assert FIRST not in shown
    assert SECOND not in shown
    assert hashlib.sha256(FIRST.encode()).hexdigest() not in repr(file.current())
