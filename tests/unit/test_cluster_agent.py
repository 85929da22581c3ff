"""The agent's part in clusters, without one: archives, and applications that are to be ended.

Fakes of the commands `hdfs` and `yarn` keep files in a folder; the real ones are in tests/integration/test_cluster.py.
"""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

import pytest

from loadcast.experiments.agent.applications import APPLICATION, end_application, tag_of
from loadcast.experiments.agent.shipping import (
    environment_archive,
    merged,
    pack,
    pack_environment,
    remove_archive,
    ship,
)
from loadcast.experiments.agent.state import Refused

NAME = "ab" * 32
#: As `hdfs dfs`: -ls -C, -df, -mkdir, -chmod and -put of Hadoop's FileSystemShell page.
HDFS = """#!{python}
import os, shutil, sys
root, words = {root!r}, sys.argv[2:]
inside = lambda address: root + address[len("hdfs://head:8020"):] if address.startswith("hdfs:") else address
with open(root + "/asked", "a") as asked:
    asked.write(words[0] + "\\n")
if os.path.exists(root + "/away"):
    sys.exit("ls: Call to head:8020 failed: Connection refused")
if os.path.exists(root + "/broken") and words[0] != "-ls":
    sys.exit("put: No space left in quota")
if words[0] == "-ls":
    there = [address for address in words[2:] if os.path.exists(inside(address))]
    print("\\n".join(there))
    for address in set(words[2:]) - set(there):
        print("ls: `" + address + "': No such file or directory", file=sys.stderr)
    sys.exit(len(there) < len(words[2:]))
if words[0] == "-df":
    print("Filesystem Size Used Available Use%\\nhdfs://head:8020 10 1 9 10%")
if words[0] == "-mkdir":
    os.makedirs(inside(words[2]), exist_ok=True)
if words[0] == "-rm":
    os.unlink(inside(words[2]))
if words[0] == "-put":
    for path in words[2:-1]:
        shutil.copy(path, inside(words[-1]))
"""
YARN = """#!{python}
import sys
with open({asked!r}, "a") as asked:
    asked.write(" ".join(sys.argv[2:]) + "\\n")
print({said!r} if "-list" in sys.argv else "")
"""


@pytest.fixture
def hdfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root, programs = tmp_path / "hdfs", tmp_path / "bin"
    root.mkdir()
    programs.mkdir()
    (programs / "hdfs").write_text(HDFS.format(python=sys.executable, root=str(root)))
    (programs / "hdfs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HADOOP_USER_NAME", "me")
    return root


@pytest.fixture
def base(tmp_path: Path) -> str:
    environment = tmp_path / "base" / "environments" / NAME
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to("/usr/bin/env")
    return str(tmp_path / "base")


def test_an_environment_is_packed_once(base: str) -> None:
    packed = pack_environment(base, NAME)
    assert packed == environment_archive(base, NAME)
    before = os.stat(packed).st_mtime_ns
    assert os.stat(pack_environment(base, NAME)).st_mtime_ns == before
    with tarfile.open(packed) as archive:
        assert archive.getmember("bin/python").linkname == "/usr/bin/env"
    assert sorted(os.listdir(os.path.dirname(packed))) == [os.path.basename(packed), os.path.basename(packed) + ".lock"]


def test_a_python_that_other_nodes_lack_is_refused(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3.11").touch()
    python = Path(base, "environments", NAME, "bin", "python")
    python.unlink()
    python.symlink_to(home / "bin" / "python3.11")
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(Refused, match=r"which the other nodes do not have: install conda here"):
        pack_environment(base, NAME)


def test_archives_are_sent_once_and_again_when_they_are_gone(base: str, hdfs: Path, tmp_path: Path) -> None:
    (tmp_path / "kernels").mkdir()
    archives = {
        "environment": pack_environment(base, NAME),
        "kernels": pack(str(tmp_path / "kernels"), f"{base}/archives/kernels.tar.gz"),
    }
    sizes = {name: os.path.getsize(path) for name, path in archives.items()}
    folder = "hdfs://head:8020/user/me/.loadcast"
    wanted = {name: f"{folder}/{os.path.basename(path)}" for name, path in archives.items()}
    assert ship(base, archives) == (wanted, sum(sizes.values()))
    assert ship(base, archives) == (wanted, 0)
    (hdfs / "user" / "me" / ".loadcast" / "kernels.tar.gz").unlink()
    assert ship(base, archives) == (wanted, sizes["kernels"])
    assert (hdfs / "asked").read_text().split().count("-put") == 2


def test_an_archive_is_removed_everywhere(base: str, hdfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack_environment(base, NAME)
    ship(base, {"environment": archive})
    remove_archive(base, NAME)
    assert not os.path.exists(archive)
    assert not [*(hdfs / "user" / "me" / ".loadcast").iterdir()]
    remove_archive(base, NAME)  # which is gone
    size = os.path.getsize(pack_environment(base, NAME))
    assert ship(base, {"environment": archive})[1] == size


def test_a_file_system_that_takes_nothing_is_told(base: str, hdfs: Path) -> None:
    (hdfs / "broken").touch()
    with pytest.raises(Refused, match=r"hdfs -df: put: No space left in quota"):
        ship(base, {"environment": pack_environment(base, NAME)})


def test_what_may_be_there_is_not_replaced_under_running_applications(base: str, hdfs: Path) -> None:
    archives = {"environment": pack_environment(base, NAME)}
    ship(base, archives)
    (hdfs / "away").touch()
    with pytest.raises(Refused, match=r"hdfs -ls: ls: Call to head:8020 failed"):
        ship(base, archives)
    assert (hdfs / "asked").read_text().split().count("-put") == 1


def test_without_hadoops_commands_spark_submit_sends_them(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    packed = pack_environment(base, NAME)
    assert ship(base, {"environment": packed}) == ({"environment": packed}, os.path.getsize(packed))
    assert ship(base, {}) == ({}, 0)


def test_lists_of_the_users_settings_stay(base: str) -> None:
    assert merged({"spark.yarn.tags": "mine"}, "spark.yarn.tags", ["ours"]) == {"spark.yarn.tags": "ours,mine"}
    assert merged({}, "spark.yarn.dist.archives", []) == {}


def test_only_what_was_submitted_is_ended(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, programs = Path(base, "runs", "20261130T02"), tmp_path / "bin"
    folder.mkdir(parents=True)
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    end_application(base, "20261130T02")  # nothing was submitted
    (folder / APPLICATION).touch()
    with pytest.raises(Refused, match="yarn: found no such command here"):
        end_application(base, "20261130T02")
    said = "application_1_0002\\tloadcast-20261130t02 of application_1_0002"
    (programs / "yarn").write_text(YARN.format(python=sys.executable, asked=str(tmp_path / "asked"), said=said))
    (programs / "yarn").chmod(0o755)
    end_application(base, "20261130T02")
    (folder / APPLICATION).write_text("application_1_0001")
    end_application(base, "20261130T02")
    states = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"-list -appStates {states} -appTags {tag_of('20261130T02')}",
        *("-kill application_1_0002", "-kill application_1_0001"),
    ]
