from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from loadcast.errors import EnvironmentNotReadyError
from loadcast.spark import java
from loadcast.spark.java import JavaRuntime, candidates, choose, find_java, parse_properties, parse_version, probe

GOOD = JavaRuntime(Path("/jvm/17"), 17, True)
OLD = JavaRuntime(Path("/jvm/11"), 11, False)
STRIPPED = JavaRuntime(Path("/jvm/stripped"), 21, False)


def fake_java(home: Path, version: str, modules: str = "java.base@17 jdk.incubator.vector@17") -> Path:
    """A program that answers the two questions `probe` asks, as a Java of that version would."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --list-modules ]; then echo "{modules}"; exit; fi\n'
        f'printf "    java.home = %s\\n    java.specification.version = %s\\n" "{home}" "{version}" >&2\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_first_runtime_that_can_start_spark_is_chosen() -> None:
    newer = JavaRuntime(Path("/jvm/25"), 25, True)
    assert choose([OLD, STRIPPED, GOOD, newer]) is GOOD


def test_runtimes_after_the_chosen_one_are_not_looked_at() -> None:
    runtimes = iter([GOOD, OLD])
    choose(runtimes)
    assert next(runtimes) is OLD


def test_where_none_fits_the_error_names_each_and_what_is_wrong_with_it() -> None:
    with pytest.raises(EnvironmentNotReadyError) as caught:
        choose([OLD, STRIPPED])
    message = str(caught.value)
    assert "/jvm/11 is Java 11" in message
    assert "/jvm/stripped lacks the module jdk.incubator.vector" in message
    assert "\n" not in message


def test_where_there_is_no_java_the_error_says_what_to_install() -> None:
    with pytest.raises(EnvironmentNotReadyError, match=r"found none; wanted Java 17 .* openjdk-17-jre-headless"):
        choose([])


@pytest.mark.parametrize(("text", "version"), [("1.8", 8), ("11", 11), ("17", 17), ("25", 25)])
def test_versions_are_read_in_the_old_and_the_new_way(text: str, version: int) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "17-ea", "x", "1.8.0_392", "99999999999"])
def test_what_is_no_version_is_none(text: str) -> None:
    assert parse_version(text) is None


def test_properties_keep_spaces_within_values() -> None:
    text = "Property settings:\n    java.home = /a folder/jdk\n    java.specification.version = 17\nopenjdk 17\n"
    assert parse_properties(text) == {"java.home": "/a folder/jdk", "java.specification.version": "17"}


def test_java_home_comes_before_path_and_path_before_the_installed_ones(tmp_path: Path) -> None:
    home, on_path = fake_java(tmp_path / "home", "17"), fake_java(tmp_path / "path", "17")
    nine, seventeen = fake_java(tmp_path / "jvm" / "java-9", "9"), fake_java(tmp_path / "jvm" / "java-17", "17")
    environment = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(on_path.parent)}
    assert list(candidates(environment, tmp_path / "jvm")) == [home, on_path, nine, seventeen]


def test_one_java_under_two_names_is_tried_once(tmp_path: Path) -> None:
    program = fake_java(tmp_path / "jvm" / "java-17", "17")
    (tmp_path / "jvm" / "default").symlink_to(tmp_path / "jvm" / "java-17")
    assert list(candidates({"PATH": str(program.parent)}, tmp_path / "jvm")) == [program]


def test_a_java_home_that_does_not_exist_is_passed_over(tmp_path: Path) -> None:
    assert list(candidates({"JAVA_HOME": str(tmp_path / "gone"), "PATH": ""}, tmp_path)) == []


def test_a_runtime_tells_its_home_version_and_module(tmp_path: Path) -> None:
    assert probe(fake_java(tmp_path / "a b", "21")) == JavaRuntime(tmp_path / "a b", 21, True)


def test_a_stripped_runtime_is_seen_to_lack_the_module(tmp_path: Path) -> None:
    assert probe(fake_java(tmp_path, "17", modules="java.base@17")) == JavaRuntime(tmp_path, 17, False)


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho nonsense\n", "not a program \0\xff"])
def test_a_program_that_answers_nonsense_is_no_java(tmp_path: Path, content: str) -> None:
    program = tmp_path / "java"
    program.write_text(content, encoding="latin-1")
    program.chmod(0o755)
    assert probe(program) is None


def test_a_program_that_hangs_is_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_PROBE_TIMEOUT_S", 0.1)
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    assert probe(program) is None


def test_find_java_takes_java_home_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, "17")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    before = dict(os.environ)
    assert find_java() == tmp_path
    assert dict(os.environ) == before


def test_an_unfit_java_home_gives_way_to_a_fit_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "old", "11")
    fit = fake_java(tmp_path / "fit", "17")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", f"{fit.parent}{os.pathsep}{os.environ['PATH']}")
    assert find_java() == tmp_path / "fit"


def test_the_command_explains_an_absent_java_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "_JVM_FOLDER", tmp_path)
    assert java.main() == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1


def test_the_java_found_here_runs() -> None:
    done = subprocess.run([str(find_java() / "bin" / "java"), "-version"], capture_output=True)
    assert done.returncode == 0
