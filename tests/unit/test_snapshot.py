"""What of a project is sent to targets: what git knows, without secrets and data, by content."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from azurite import KEY as ACCOUNT_KEY
from loadcast.errors import ConfigError
from loadcast.experiments import snapshot as module
from loadcast.experiments.git_state import git_diff
from loadcast.experiments.locations import blob_path
from loadcast.experiments.snapshot import take_snapshot, write_snapshot
from loadcast.experiments.snapshot_files import snapshot_files

FILES = {
    "Code/a.py": "print(1)",
    "Code/deep/b c.txt": "two",
    ".gitignore": "ignored/\n*.log\n",
    "ignored/x": "no",
    "some.log": "no",
    "data/rows.csv": "no",
    "output/x": "no",
    "__pycache__/x.pyc": "no",
    "keys/id_rsa": "no",
    "server.pem": "no",
    ".env": "no",
    ".loadcast/runs/x": "no",
    "ü\n.txt": "hostile",
}
SENT = {"Code/a.py", "Code/deep/b c.txt", ".gitignore", "ü\n.txt"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


def paths(project: Path) -> set[str]:
    return {file.path for file in take_snapshot(project).files}


def git(project: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(project), *words], check=True, capture_output=True)


def test_what_git_tracks_or_does_not_ignore_is_sent(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "Code/a.py")
    assert paths(project) == SENT


def test_without_git_what_is_usually_ignored_is_left_out(project: Path) -> None:
    assert paths(project) == SENT | {"ignored/x", "some.log"}


def test_patterns_of_amlignore_leave_out_more(project: Path) -> None:
    (project / ".amlignore").write_text("# a comment\n\nCode/deep/\n*.log\nignored\n")
    assert paths(project) == {"Code/a.py", ".gitignore", "ü\n.txt", ".amlignore"}


def test_contents_are_kept_once_and_the_hash_is_of_paths_and_contents(project: Path, tmp_path: Path) -> None:
    (project / "Code" / "same.py").write_text("print(1)")
    os.chmod(project / "Code" / "a.py", 0o755)
    first = take_snapshot(project)
    (file,) = (file for file in first.files if file.path == "Code/a.py")
    assert (file.size, file.executable) == (8, True)
    assert blob_path(project, file.sha256).read_text() == "print(1)"
    assert {file.sha256 for file in first.files if file.path == "Code/same.py"} == {file.sha256}
    assert take_snapshot(project).hash == first.hash
    write_snapshot(project, "20260101T000000-abcdef", first)
    assert [*snapshot_files(project, "20260101T000000-abcdef").values()] == [*first.files]
    (project / "Code" / "a.py").write_text("print(2)")
    assert take_snapshot(project).hash != first.hash


def test_a_file_that_holds_a_key_ends_it_without_showing_the_key(project: Path) -> None:
    (project / "Config").mkdir()
    (project / "Config" / "storage.json").write_text(f'{{\n"storageKey": "{ACCOUNT_KEY}"\n}}')
    with pytest.raises(ConfigError, match=r"Config/storage\.json, line 2: found what looks like a key") as caught:
        take_snapshot(project)
    assert ACCOUNT_KEY not in str(caught.value)


def test_digests_of_lock_files_are_no_keys(project: Path) -> None:
    (project / "package-lock.json").write_text(f'{{"integrity": "sha512-{ACCOUNT_KEY}"}}')
    assert "package-lock.json" in paths(project)


def test_links_inside_are_followed_and_those_that_lead_out_are_an_error(project: Path, tmp_path: Path) -> None:
    (project / "link.py").symlink_to("Code/a.py")
    (project / "broken").symlink_to("nowhere")
    (project / "folder").symlink_to("Code")
    assert paths(project) >= {"link.py"}
    (tmp_path / "outside").write_text("secret")
    (project / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="out is a link that leads out of the project"):
        take_snapshot(project)


def test_what_is_no_file_is_left_out(project: Path) -> None:
    os.mkfifo(project / "pipe")
    assert "pipe" not in paths(project)


def test_too_much_is_told_with_the_largest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BYTES", 3_000_000)
    (project / "big.bin").write_bytes(b"\0" * 4_000_000)
    with pytest.raises(ConfigError, match=r"wanted at most 3\. The largest: big\.bin \(4 MB\), .*\.amlignore"):
        take_snapshot(project)


def test_what_is_never_sent_is_not_in_the_difference_from_git_either(project: Path) -> None:
    git(project, "init", "-q")
    for content in ("before", "sesame"):
        for path in (".env", "Code/.env", "Code/x.txt"):
            (project / path).write_text(f"{content} {path}\n")
        git(project, "add", "--force", ".env", "Code")
        if content == "before":
            git(project, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
    diff = git_diff(project / "Code")
    assert "+sesame Code/x.txt" in diff
    assert diff.count("sesame") == 1
