"""A key file that changes while a service uses it: at every moment, what did not change is taken."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from key_files import FIRST, SECOND, THIRD, Clock, write
from loadcast.serving import keys
from loadcast.serving.keys import (
    KeyFile,
    digest_line,
)
from loadcast.system.small_files import replace_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_file_is_looked_at_once_a_second(path: Path) -> None:
    clock = Clock()
    file = KeyFile(write(path, FIRST), clock)
    write(path, SECOND)
    clock.now_s += 0.9
    assert file.current().accepts(FIRST.encode())
    clock.now_s += 0.2
    assert file.current().accepts(SECOND.encode())
    assert file.current().accepts(FIRST.encode()) is None


def test_a_file_that_breaks_leaves_the_keys_and_is_warned_of_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    file = KeyFile(write(path, FIRST), clock)
    caplog.set_level(logging.INFO, "loadcast.service")
    for lines, mode in (((SECOND, FIRST, THIRD), 0o600), (("a b",), 0o600), ((SECOND,), 0o640), ((), 0o600)):
        caplog.clear()
        write(path, *lines, mode=mode)
        for _ in range(5):
            clock.now_s += 1.5
            assert file.current().accepts(FIRST.encode()) == "primary"
        (warning,) = caplog.records
        assert warning.levelno == logging.WARNING
        assert "keys from before still count" in warning.getMessage()
    path.unlink()
    clock.now_s += 1.5
    assert file.current().accepts(FIRST.encode()) == "primary"
    caplog.clear()
    write(path, SECOND)
    for _ in range(2):  # a new file may get the number of the one that was removed
        clock.now_s += 1.5
        file.current()
    assert file.current().accepts(SECOND.encode()) == "primary"
    assert [entry.levelno for entry in caplog.records] == [logging.INFO]
    assert not any(key in caplog.text for key in (FIRST, SECOND, THIRD))


def test_a_key_half_written_in_place_is_not_taken_for_one(path: Path) -> None:
    clock = Clock()
    file = KeyFile(write(path, FIRST, SECOND), clock)
    with path.open("w") as writer:
        for part in (f"{THIRD}\n", SECOND[:3], f"{SECOND[3:]}\n"):
            clock.now_s += 1.5
            assert file.current().accepts(SECOND.encode()) == "secondary"
            assert file.current().accepts(SECOND[:3].encode()) is None
            writer.write(part)
            writer.flush()
    for _ in range(2):
        clock.now_s += 1.5
        assert file.current().accepts(SECOND.encode()) == "secondary"
    assert file.current().accepts(THIRD.encode()) == "primary"


def test_a_file_written_in_place_a_while_ago_counts_at_the_first_look(path: Path) -> None:
    clock = Clock()
    file = KeyFile(write(path, FIRST), clock)
    path.write_text(f"{SECOND}\n")
    os.utime(path, (1, 1))
    clock.now_s += 600
    assert file.current().accepts(FIRST.encode()) is None
    assert file.current().accepts(SECOND.encode()) == "primary"


def test_no_thread_waits_for_another_that_looks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    file = KeyFile(write(path, FIRST), clock)
    looking, go_on = threading.Event(), threading.Event()

    def slow(path: Any) -> tuple[bytes, int]:
        looking.set()
        assert go_on.wait(10)
        return f"{SECOND}\n".encode(), 0

    monkeypatch.setattr(keys, "_content", slow)
    clock.now_s += 2
    thread = threading.Thread(target=file.current)
    thread.start()
    assert looking.wait(10)
    assert file.current().accepts(FIRST.encode())
    go_on.set()
    thread.join()
    assert file.current().accepts(SECOND.encode())


class Rotation(RuleBasedStateMachine):
    """Keys are changed one at a time, by all ways to write a file; what did not change is taken at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "keys"
        self.clock = Clock()
        self.count = 2
        self.lines = ["key-0", "key-1"]
        write(self.path, *self.lines)
        self.file = KeyFile(self.path, self.clock)
        #: By line, the keys that may still count: that of before too, until a look or two.
        self.possible = [{line} for line in self.lines]
        self.quiet_looks = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(index=st.integers(0, 1), hashed=st.booleans(), way=st.sampled_from(("rename", "in place", "in pieces")))
    def rotate(self, index: int, hashed: bool, way: str) -> None:
        """Change one key once the change before has been seen; the other line stays as it is."""
        self.settle()
        key = f"key-{self.count}"
        self.count += 1
        content = self.path.read_text().splitlines()
        content[index] = digest_line(key) if hashed else key
        if way == "rename":
            write(self.path, *content)
        else:
            text = "".join(f"{line}\n" for line in content)
            with self.path.open("w") as writer:
                for part in (text,) if way == "in place" else (text[: len(text) // 2], text[len(text) // 2 :]):
                    writer.write(part)
                    writer.flush()
                    if part != text:
                        self.look()
        self.lines[index] = key
        self.possible[index].add(key)
        self.quiet_looks = 0

    @rule(content=st.sampled_from((b"", b"a b\n", b"x\ny\nz\n", b"k" * 9000, None)))
    def break_it(self, content: bytes | None) -> None:
        """A broken file, or none, for a while; then the right one again, line by line as it was."""
        right = self.path.read_bytes()
        if content is None:
            self.path.unlink()
        else:
            write(self.path, content)
        self.look()
        self.look()
        replace_file(self.path, right, 0o600, lasting=False)
        self.quiet_looks = 0

    @rule(seconds=st.sampled_from((0.1, 0.6, 1.1, 1e6)))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.check_all()

    def look(self) -> None:
        self.clock.now_s += 1.1
        self.check_all()
        self.quiet_looks += 1

    def settle(self) -> None:
        self.look()
        self.look()
        now = self.file.current()
        assert [now.accepts(line.encode()) for line in self.lines] == ["primary", "secondary"]
        self.possible = [{line} for line in self.lines]

    @invariant()
    def check_all(self) -> None:
        now = self.file.current()
        for name, possible in zip(keys.NAMES, self.possible, strict=True):
            # While one key changes, one of the two counts; where none does, the one there is counts.
            assert [now.accepts(key.encode()) for key in possible].count(name) == 1
        assert all(now.accepts(f"key-{number}"[:-1].encode()) is None for number in range(3))


TestRotation = Rotation.TestCase
TestRotation.settings = settings(
    max_examples=int(os.environ.get("LOADCAST_KEY_ROTATIONS", "25")), stateful_step_count=12
)
