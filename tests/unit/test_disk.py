"""Full disks, as each part of a run tells of them."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from loadcast.cli.common import friendly
from loadcast.errors import OutputError
from loadcast.system.disk import full_disk, is_full_disk

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    Exception("java.io.IOException: No space left on device\n\tat java.base/java.io.FileOutputStream.write"),
    Exception("OSError: [Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
]


@pytest.mark.parametrize("error", FULL, ids=str)
def test_a_full_disk_is_known(error: Exception) -> None:
    assert is_full_disk(error)
    assert not is_full_disk(OSError(errno.EACCES, "Permission denied"))
    assert not is_full_disk(ValueError("28 rows"))


def test_the_full_one_of_several_folders_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"output": 1 << 40, "temporary": 0}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[folder]))
    assert "Cannot write to temporary: no space left on device." in str(full_disk("output", "temporary"))
    free["temporary"] = 1 << 40  # what failed has been removed meanwhile
    assert "Cannot write to output: no space left on device." in str(full_disk("output", "temporary"))


def test_a_url_or_a_folder_that_is_gone_is_the_output() -> None:
    assert "Cannot write to wasbs://c@a/p:" in str(full_disk("wasbs://c@a/p", "/nonexistent/folder"))


def test_a_command_says_it_in_one_line_wherever_it_happens(tmp_path: Path) -> None:
    @click.command()
    @friendly
    def command() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "file"))

    result = CliRunner().invoke(command)
    assert result.exit_code == OutputError.exit_code
    assert result.stderr.startswith(f"loadcast: Cannot write to {tmp_path / 'file'}: no space left on device.")
    assert len(result.stderr.splitlines()) == 1
