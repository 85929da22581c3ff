"""Spark's settings: pure functions, Spark isn't started."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from loadcast.spark.java import find_java

session = pytest.importorskip("loadcast.spark.session")


def test_only_local_masters_get_our_memory_and_address() -> None:
    assert session.default_settings("local[2]")["spark.driver.memory"] == "2048m"
    assert "spark.driver.memory" not in session.default_settings("yarn")
    assert "spark.driver.host" not in session.default_settings("spark://host:7077")


@pytest.mark.parametrize(("master", "partitions"), [("local", "2"), ("local[3]", "6"), ("local[4,2]", "8")])
def test_shuffle_partitions_follow_the_cores(master: str, partitions: str) -> None:
    assert session.default_settings(master)["spark.sql.shuffle.partitions"] == partitions


def test_only_a_brief_local_run_goes_without_the_optimizing_compiler() -> None:
    assert "TieredStopAtLevel" in session.java_options("local[2]", True, False)
    assert "TieredStopAtLevel" not in session.java_options("local[2]", False, False)
    assert "TieredStopAtLevel" not in session.java_options("yarn", True, False)


def test_the_optimizing_compiler_is_kept_to_what_is_worth_it_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    java = find_java() / "bin" / "java"
    (file,) = (option for option in session.java_options("local[2]", False, False).split() if "Directives" in option)
    done = subprocess.run(
        [java, "-XX:+UnlockDiagnosticVMOptions", file, "-version"], capture_output=True, text=True, check=True
    )
    assert "3 compiler directives added" in done.stdout
    for master, brief in (("local[2]", True), ("yarn", False)):
        assert "Directives" not in session.java_options(master, brief, False)
    monkeypatch.setattr(session, "_DIRECTIVES", Path("/a folder/compiler_directives.json"))
    assert "Directives" not in session.java_options("local[2]", False, False)


def test_java_for_linux_is_asked_for_large_pages_where_work_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.sys, "platform", "linux")
    assert "UseTransparentHugePages" in session.java_options("local[2]", False, False)
    assert "UseTransparentHugePages" not in session.java_options("local[2]", True, False)
    assert "UseTransparentHugePages" not in session.java_options("yarn", False, False)
    monkeypatch.setattr(session.sys, "platform", "darwin")  # whose Java would not start with an option it does not know
    assert "UseTransparentHugePages" not in session.java_options("local[2]", False, False)


def test_the_log_stays_quiet_unless_asked_for() -> None:
    assert "log4j2" in session.java_options("yarn", False, False)
    assert "log4j2" not in session.java_options("yarn", False, True)


def test_the_jvm_keeps_its_temporary_files_in_our_folder(tmp_path: Path) -> None:
    options = session.java_options("yarn", False, False, None, tmp_path).split()
    assert f"-Djava.io.tmpdir={tmp_path}" in options
    assert "-XX:-UsePerfData" in options  # else a file in /tmp, wherever tmpdir is
    assert "tmpdir" not in session.java_options("yarn", False, False)


@pytest.mark.parametrize(
    ("master", "extra", "may_be_killed"),
    [
        ("local[2]", {}, True),
        ("yarn", {}, False),
        (None, {}, False),
        ("local[2]", {"spark.local.dir": "/data"}, False),
        ("local[2]", {"spark.driver.extraJavaOptions": "-Da=b"}, False),
    ],
)
def test_a_jvm_with_files_elsewhere_is_asked_to_end(
    master: str | None, extra: dict[str, str], may_be_killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARK_LOCAL_DIRS", raising=False)
    options = session.SparkOptions(master, False, extra)
    java = session.java_options(master, False, False, None, tmp_path)
    assert (session._grace_s(master, options, java) == 0) == may_be_killed
    assert session._grace_s(master, options, session.java_options(master, False, False)) > 0


def test_only_local_masters_fork_workers_from_our_daemon() -> None:
    for master in ("local", "local[2]", "local[*]"):
        assert session.default_settings(master)["spark.python.daemon.module"].startswith("loadcast.spark.")
    for master in ("yarn", "spark://host:7077", "k8s://https://host", None):
        assert "spark.python.daemon.module" not in session.default_settings(master)


@pytest.mark.parametrize("client", [True, False])
def test_the_daemon_has_the_blob_client_where_it_is_needed(monkeypatch: pytest.MonkeyPatch, client: bool) -> None:
    monkeypatch.delitem(sys.modules, "loadcast.storage.blob.container", raising=False)
    if client:
        monkeypatch.setitem(sys.modules, "loadcast.storage.blob.container", ModuleType("container"))
    assert session.default_settings("local")["spark.python.daemon.module"] == "loadcast.spark.scoring_daemon"
    module = session.default_settings("local", brief=True)["spark.python.daemon.module"]
    assert module == ("loadcast.spark.blob_daemon" if client else "loadcast.spark.daemon")
    assert importlib.util.find_spec(module)


def test_only_local_runs_with_a_java_share_classes_with_runs_of_their_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "archive_options", lambda java_home, kind: [f"-XX:SharedArchiveFile={kind}.jsa"])
    brief, long = (session.java_options("local[2]", brief, False, tmp_path).split()[-1] for brief in (True, False))
    assert brief.startswith("-XX:SharedArchiveFile=")
    assert long.startswith("-XX:SharedArchiveFile=")
    assert brief != long
    assert "SharedArchiveFile" not in session.java_options("yarn", False, False, tmp_path)
    assert "SharedArchiveFile" not in session.java_options("local[2]", False, False)


@pytest.mark.parametrize(("cores", "whole", "brief"), [(1, 2_048, 1_024), (8, 4_096, 2_048), (500, 16_384, 8_192)])
def test_memory_grows_with_the_cores_and_etl_needs_half(cores: int, whole: int, brief: int) -> None:
    for is_brief, wanted in ((False, whole), (True, brief)):
        assert session.default_settings(f"local[{cores}]", is_brief)["spark.driver.memory"] == f"{wanted}m"
