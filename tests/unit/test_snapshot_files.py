"""The code of runs: compared with that of others, and put back, from files that may be damaged or hostile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from loadcast.errors import ArtefactError, OutputError
from loadcast.experiments.locations import SNAPSHOT, blob_path, run_folder
from loadcast.experiments.snapshot_files import changed_paths, restore, snapshot_files, unified_diff
from submitted import OTHER, RUN, submit, write_manifest

CODE = {"Code/a.py": b"one\ntwo\n", "same.py": b"same", "gone.py": b"x\n", "run.sh": b"#!/bin/sh", "b.bin": b"\0\1"}
CHANGED = {**CODE, "Code/a.py": b"one\n2\x1b[31m\n", "new; $(x).py": b"y", "b.bin": b"\0\2"}
del CHANGED["gone.py"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    submit(tmp_path, CODE)
    submit(tmp_path, CHANGED, id=OTHER)
    return tmp_path


def test_what_differs_is_named(project: Path) -> None:
    before, after = (snapshot_files(project, run) for run in (RUN, OTHER))
    assert changed_paths(before, before) == []
    assert changed_paths(before, after) == [
        ("Code/a.py", "changed"),
        ("b.bin", "changed"),
        ("gone.py", "removed"),
        ("new; $(x).py", "added"),
    ]


def test_the_diff_is_unified_and_drives_no_terminal(project: Path) -> None:
    lines = list(unified_diff(project, snapshot_files(project, RUN), snapshot_files(project, OTHER)))
    assert lines == [
        "--- a/Code/a.py",
        "+++ b/Code/a.py",
        "@@ -1,2 +1,2 @@",
        " one",
        "-two",
        r"+2\x1b[31m",
        "Binary or large file b.bin: changed",
        "--- a/gone.py",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-x",
        "--- /dev/null",
        "+++ b/new; $(x).py",
        "@@ -0,0 +1 @@",
        "+y",
    ]


def test_a_change_that_no_line_shows_is_told(tmp_path: Path) -> None:
    submit(tmp_path, {"a": b"x\n"})
    submit(tmp_path, {"a": b"x\r\n"}, id=OTHER)
    lines = list(unified_diff(tmp_path, snapshot_files(tmp_path, RUN), snapshot_files(tmp_path, OTHER)))
    assert lines == ["File a: its mode or the ends of its lines changed"]


def test_code_is_put_back_as_it_was(project: Path) -> None:
    destination = project / "deep" / "restored"
    restore(project, snapshot_files(project, RUN), destination)
    files = {path.relative_to(destination).as_posix(): path for path in destination.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in files.items()} == CODE
    assert [name for name, path in files.items() if os.access(path, os.X_OK)] == ["run.sh"]
    assert os.listdir(destination.parent) == ["restored"]


def test_nothing_is_put_over_other_files(project: Path) -> None:
    (project / "used").mkdir()
    (project / "used" / "file").touch()
    (project / "link").symlink_to(project / "elsewhere")
    for name in ("used", "used/file", "link"):
        with pytest.raises(OutputError, match="wanted a new or empty"):
            restore(project, snapshot_files(project, RUN), project / name)
    (project / "empty").mkdir()
    restore(project, snapshot_files(project, RUN), project / "empty")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_blob_is_told_and_nothing_is_left(project: Path, damage: str) -> None:
    files = snapshot_files(project, RUN)
    blob = blob_path(project, files["same.py"].sha256)
    blob.unlink() if damage == "missing" else blob.write_bytes(b"other")
    with pytest.raises(ArtefactError, match=r"^same\.py: "):
        restore(project, files, project / "restored")
    assert sorted(os.listdir(project)) == [".loadcast"]


GOOD = ["a", "0" * 64, 1, False]


@pytest.mark.parametrize(
    "entry",
    [
        *([path, *GOOD[1:]] for path in ("../a", "/a", "a/../b", "", ".", "a//b", "./a", "a/", "a\0")),
        ["a", "0" * 63, 1, False],
        ["a", "../" + "0" * 61, 1, False],
        ["a", "0" * 64, -1, False],
        ["a", "0" * 64, True, False],
        ["a", "0" * 64, 1],
        "a",
        {},
    ],
    ids=repr,
)
def test_hostile_manifests_are_refused(tmp_path: Path, entry: Any) -> None:
    submit(tmp_path)
    write_manifest(tmp_path, RUN, [GOOD, entry])
    with pytest.raises(ArtefactError, match="cannot be read: found an entry"):
        snapshot_files(tmp_path, RUN)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"entries": 1}'])
def test_damaged_manifests_are_told(tmp_path: Path, content: str) -> None:
    submit(tmp_path)
    (run_folder(tmp_path, RUN) / SNAPSHOT).write_text(content)
    with pytest.raises(ArtefactError, match="Its code is not known"):
        snapshot_files(tmp_path, RUN)
    (run_folder(tmp_path, RUN) / SNAPSHOT).unlink()
    with pytest.raises(ArtefactError, match="No such file"):
        snapshot_files(tmp_path, RUN)
