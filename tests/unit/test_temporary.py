"""Temporary folders: removed at the end, and by the next process where the end did not come."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from loadcast.errors import OutputError
from loadcast.system import temporary

CODE = Path(__file__).resolve().parents[2] / "Code"
_HOLDER = """
import sys; sys.path.insert(0, {code!r})
from loadcast.system import temporary
{maker}
(folder / "part").mkdir()
(folder / "part" / "file").write_text("x")
print(folder.parent, flush=True)
sys.stdin.readline()
"""
_OF_PROCESS = "folder = temporary.process_folder()"


@pytest.fixture(autouse=True)
def temp_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def holder(maker: str = _OF_PROCESS) -> tuple[subprocess.Popen[str], Path]:
    """A process that has such a folder until it is told to end, and the folder."""
    program = _HOLDER.format(code=str(CODE), maker=maker)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)


def test_a_folder_is_there_for_the_block_and_empty(temp_root: Path) -> None:
    with temporary.run_folder() as folder:
        assert [*folder.iterdir()] == []
        assert folder.is_relative_to(temp_root)
        assert folder.parent.name.startswith("loadcast-run-")
        assert folder.parent.stat().st_mode & 0o077 == 0
        (folder / "file").touch()
    assert [*temp_root.iterdir()] == []


def test_that_of_a_process_goes_with_it(temp_root: Path) -> None:
    process, folder = holder()
    assert folder.is_dir()
    end(process)
    assert [*temp_root.iterdir()] == []


@pytest.mark.parametrize("maker", [_OF_PROCESS, "block = temporary.run_folder(); folder = block.__enter__()"])
def test_that_of_a_killed_process_is_removed_by_the_next_one_and_no_other(temp_root: Path, maker: str) -> None:
    alive, held = holder(maker)
    killed, abandoned = holder(maker)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert abandoned.is_dir()
    with temporary.run_folder() as own:
        assert not abandoned.exists()
        assert (held / "files" / "part" / "file").read_text() == "x"
        assert {*temp_root.iterdir()} == {held, own.parent}
    end(alive)


def test_a_process_killed_in_the_making_leaves_nothing_that_stays(temp_root: Path) -> None:
    (temp_root / "loadcast-run-empty").mkdir()
    (temp_root / "loadcast-run-begun").mkdir()
    (temp_root / "loadcast-run-begun" / ".lock").touch()
    temporary.remove_abandoned()
    assert [*temp_root.iterdir()] == []


def test_nothing_is_removed_that_is_not_known_to_be_ours(temp_root: Path) -> None:
    other = temp_root / "loadcast-run-by-hand"
    (other / "files").mkdir(parents=True)
    (temp_root / "loadcast-run-file").touch()
    (temp_root / "else").mkdir()
    strange = temp_root / "loadcast-run-strange"
    strange.mkdir()
    os.mkfifo(strange / ".lock")
    temporary.remove_abandoned()
    assert {path.name for path in temp_root.iterdir()} == {other.name, "loadcast-run-file", "else", strange.name}


def test_links_lead_nowhere(temp_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("target")
    (target / ".lock").touch()
    (target / "files").mkdir()
    (target / "files" / "precious").touch()
    (temp_root / "loadcast-run-link").symlink_to(target)
    inside = temp_root / "loadcast-run-inside"
    inside.mkdir()
    (inside / ".lock").symlink_to(target / ".lock")
    holds = temp_root / "loadcast-run-holds"
    (holds / "files").mkdir(parents=True)
    (holds / ".lock").touch()
    (holds / "files" / "link").symlink_to(target)
    temporary.remove_abandoned()
    assert (target / "files" / "precious").exists()
    assert {path.name for path in temp_root.iterdir()} == {"loadcast-run-link", "loadcast-run-inside"}


def test_folders_of_other_users_are_not_touched(temp_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temp_root / "loadcast-run-begun").mkdir()
    (temp_root / "loadcast-run-begun" / ".lock").touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # root, too, leaves them alone
    temporary.remove_abandoned()
    assert (temp_root / "loadcast-run-begun").is_dir()


def test_a_folder_that_another_process_takes_for_abandoned_is_not_used(
    temp_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tempfile.mkdtemp
    attempts = []

    def raced(prefix: str) -> str:
        path = made(prefix=prefix)
        attempts.append(path)
        if len(attempts) < 3:
            temporary.remove_abandoned()  # another process, just now
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", raced)
    with temporary.run_folder() as folder:
        assert str(folder.parent) == attempts[-1]
    assert len(attempts) == 3
    assert [*temp_root.iterdir()] == []


def test_a_file_system_without_locks_keeps_folders(temp_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (temp_root / "loadcast-run-begun").mkdir()
    (temp_root / "loadcast-run-begun" / ".lock").touch()
    with temporary.run_folder() as folder:
        assert folder.is_dir()
    assert [path.name for path in temp_root.iterdir()] == ["loadcast-run-begun"]


def test_a_forked_process_leaves_its_parents_folder() -> None:
    with temporary.run_folder() as folder:
        child = os.fork()
        if child == 0:
            temporary.remove_own()
            os._exit(0)
        os.waitpid(child, 0)
        assert folder.is_dir()


def test_libraries_put_theirs_into_a_folder_for_a_while(temp_root: Path) -> None:
    with temporary.run_folder() as folder, temporary.default_for_others(folder):
        assert Path(tempfile.mkdtemp()).parent == folder
        assert os.environ["TMPDIR"] == str(folder)
    assert os.environ["TMPDIR"] == str(temp_root)
    assert Path(tempfile.gettempdir()) == temp_root


def test_where_none_can_be_made_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in (OSError(28, "No space left on device"), PermissionError(13, "Permission denied")):

        def fail(prefix: str, reason: OSError = reason) -> str:
            raise reason

        monkeypatch.setattr(tempfile, "mkdtemp", fail)
        with pytest.raises(OutputError, match=f"(?i){reason.strerror}"), temporary.run_folder():
            pass
