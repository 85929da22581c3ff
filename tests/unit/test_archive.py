"""Which options a JVM gets for its archive of classes, with archives of a few bytes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loadcast.spark import archive
from loadcast.spark.archive import archive_options

COMPLETE = (0xF00BABA8).to_bytes(4, sys.byteorder) + b"classes"
HALF_WRITTEN = bytes(4) + b"classes"
KIND = "brief"
USES, LEAVES = "-XX:SharedArchiveFile=", "-XX:ArchiveClassesAtExit="


@pytest.fixture
def java(tmp_path: Path) -> Path:
    home = tmp_path / "java-17"
    home.mkdir()
    (home / "release").write_text('JAVA_VERSION="17.0.9"\n')
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var" / "loadcast"


def archive_in(options: list[str], kind: str) -> Path:
    """The archive that the one option of this kind names; no other names one."""
    (named,) = (option for option in options if option.startswith((USES, LEAVES)))
    assert named.startswith(kind)
    return Path(named.removeprefix(kind))


def write(java: Path, folder: Path, content: bytes, age_s: float = 0.0) -> Path:
    """What lies where this Java's archive belongs."""
    archived = archive_in(archive_options(java, KIND, folder), LEAVES)
    archived.write_bytes(content)
    os.utime(archived, (time.time() - age_s,) * 2)
    return archived


def test_where_there_is_no_archive_the_jvm_leaves_one(java: Path, folder: Path) -> None:
    archived = archive_in(archive_options(java, KIND, folder), LEAVES)
    assert archived.parent == folder
    assert folder.is_dir()
    assert not archived.exists()


@pytest.mark.parametrize("age_s", [0, 1_000_000])
def test_a_complete_archive_is_used_whatever_its_age(java: Path, folder: Path, age_s: float) -> None:
    archived = write(java, folder, COMPLETE, age_s)
    assert archive_in(archive_options(java, KIND, folder), USES) == archived


@pytest.mark.parametrize("content", [HALF_WRITTEN, COMPLETE[:3], b""])
def test_one_that_is_perhaps_being_written_is_left_alone(java: Path, folder: Path, content: bytes) -> None:
    write(java, folder, content, age_s=1)
    assert archive_options(java, KIND, folder) == []


@pytest.mark.parametrize("content", [HALF_WRITTEN, COMPLETE[:3], b""])
def test_one_that_was_never_completed_is_made_anew(java: Path, folder: Path, content: bytes) -> None:
    archived = write(java, folder, content, age_s=1000)
    assert archive_in(archive_options(java, KIND, folder), LEAVES) == archived


def test_the_jvm_keeps_quiet_about_an_archive_and_goes_on_without_one_that_does_not_fit(
    java: Path, folder: Path
) -> None:
    leaving = archive_options(java, KIND, folder)
    write(java, folder, COMPLETE)
    for options in (leaving, archive_options(java, KIND, folder)):
        assert {"-Xshare:auto", "-Xlog:disable"} <= set(options)


def test_a_folder_that_cannot_be_made_gives_no_options(java: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert archive_options(java, KIND, tmp_path / "file" / "loadcast") == []


def test_a_folder_that_cannot_be_written_gives_no_options(
    java: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    if os.geteuid() == 0:  # may write anywhere, so the system's answer is put in its place
        monkeypatch.setattr(archive.os, "access", lambda path, mode: not (Path(path) == folder and mode & os.W_OK))
    else:
        folder.chmod(0o500)
    assert archive_options(java, KIND, folder) == []


def test_an_archive_in_a_folder_that_cannot_be_written_is_used(
    java: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived = write(java, folder, COMPLETE)
    folder.chmod(0o500)
    monkeypatch.setattr(archive.os, "access", lambda path, mode: False)
    assert archive_in(archive_options(java, KIND, folder), USES) == archived


@pytest.mark.parametrize("sign", [" ", "\t", "'", '"', "\\", ":"])
def test_a_path_that_options_cannot_name_gives_none(java: Path, tmp_path: Path, sign: str) -> None:
    assert archive_options(java, KIND, tmp_path / f"a{sign}folder") == []
    assert not (tmp_path / f"a{sign}folder").exists()


# --- where it lies --------------------------------------------------------------------------------------------------


def name(java: Path, folder: Path, kind: str = KIND) -> str:
    return archive_in(archive_options(java, kind, folder), LEAVES).name


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "a newer Java in the same place": lambda java, _: (java / "release").write_text('JAVA_VERSION="17.0.10"\n'),
    "no release text": lambda java, _: (java / "release").unlink(),
    "another PySpark": lambda _, patch: patch.setattr(archive, "__version__", "0.0.1"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_another_java_or_spark_has_an_archive_of_its_own(
    java: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    before = name(java, folder)
    assert name(java, folder) == before
    CHANGES[case](java, monkeypatch)
    assert name(java, folder) != before


def test_the_same_release_in_another_place_has_an_archive_of_its_own(java: Path, folder: Path) -> None:
    other = java.rename(java.with_name("java-17-copy"))
    assert name(other, folder) != name(java, folder)


def test_a_jvm_of_another_kind_has_an_archive_of_its_own(java: Path, folder: Path) -> None:
    assert name(java, folder, "long") != name(java, folder, KIND)


def test_the_archive_lies_in_the_environment_else_in_the_users_cache(
    java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "base"))
    assert archive_in(archive_options(java, KIND), LEAVES).parent == tmp_path / "venv" / "var" / "loadcast"
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "venv"))
    assert archive_in(archive_options(java, KIND), LEAVES).parent == tmp_path / "home" / ".cache" / "loadcast"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert archive_in(archive_options(java, KIND), LEAVES).parent == tmp_path / "cache" / "loadcast"
