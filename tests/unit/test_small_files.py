"""Files handed to a command: whole, and never waited for without end."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from loadcast.errors import ConfigError
from loadcast.references import read_reference
from loadcast.settings import load_settings
from loadcast.storage.datastores import FILE_VARIABLE, load_datastores
from loadcast.system import small_files
from loadcast.system.small_files import read_small_file, replace_file


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    assert read_small_file(file, 100) == b"0123456789"
    assert read_small_file(file, 4) == b"0123"


def test_what_comes_through_a_pipe_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"x" * 200_000))
    writer.start()
    assert read_small_file(pipe, 1 << 20) == b"x" * 200_000
    writer.join()


def test_a_pipe_that_nobody_writes_to_is_a_fault_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "PATIENCE_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="it is a pipe, and its end did not come"):
        load_settings(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        with pytest.raises(ConfigError, match="it is a pipe"):
            load_settings(tmp_path / "pipe")
    finally:
        os.close(writer)


def test_keys_and_datastores_are_not_waited_for_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_files, "PATIENCE_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="it is a pipe"):
        read_reference(f"file:{tmp_path / 'pipe'}", "storageKey")
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "pipe"))
    with pytest.raises(ConfigError, match="it is a pipe"):
        load_datastores()


def test_a_folder_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_settings(tmp_path)


def test_a_replaced_file_is_the_old_or_the_new_one_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "folder" / "file"
    replace_file(file, b"old", 0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"old", 0o640)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            replace_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert [*file.parent.iterdir()] == [file]
    replace_file(file, b"new", lasting=False)
    assert file.read_bytes() == b"new"
