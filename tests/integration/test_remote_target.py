"""Scripts submitted to a machine that is reached by SSH: a real server, with files of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssh_host import SshHost, require_ssh_host, running_ssh_host

LOADCAST = (sys.executable, "-m", "loadcast")
HELLO = "import os, sys; print('hello', *sys.argv[1:], os.path.expanduser('~')); open('outputs/a b','w').write('42')"
SLOW = """
import os, sys, time
for number in range(int(sys.argv[1])):
    print(number, flush=True)
    time.sleep(0.05)
open("outputs/done", "w").write("done")
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    require_ssh_host()
    with running_ssh_host(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, host: SshHost) -> Path:
    """A project with a target `vm`."""
    folder = tmp_path / "a project"
    (folder / "Code").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "Code" / "hello.py").write_text(HELLO)
    (folder / "Code" / "slow.py").write_text(SLOW)
    loadcast(
        folder, "computetarget", "attach", "remote", "--name", "vm", "--address", host.address, "--username", host.user,
        "--ssh-port", str(host.port), "--private-key-file", str(host.key_file),
    )  # fmt: skip
    config = folder / "aml_config" / "vm.runconfig"
    config.write_text(config.read_text().replace("PrepareEnvironment: true", "PrepareEnvironment: false"))
    return folder


def loadcast(project: Path, *words: str, code: int = 0) -> str:
    """Run a command in the project; gives what it wrote."""
    done = subprocess.run([*LOADCAST, *words], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def the_run(project: Path) -> str:
    (folder,) = (project / ".loadcast" / "runs").iterdir()
    return folder.name


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_script_runs_there_and_its_results_come_back(project: Path, host: SshHost) -> None:
    words = ["two words", "a;b", "$(id)", "'\"", "ü", "-x"]
    said = loadcast(project, "experiment", "submit", "-c", "vm", "./Code/hello.py", *words)
    assert f"hello {' '.join(words)} /root\n" in said
    assert (project / ".loadcast" / "runs" / the_run(project) / "outputs" / "a b").read_text() == "42"
    assert "completed" in loadcast(project, "experiment", "list")
    kept = [path for path in (host.home / ".loadcast" / "blobs").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in kept}
    loadcast(project, "experiment", "submit", "-c", "vm", "Code/hello.py")
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_what_the_host_is_and_has_is_told(project: Path, host: SshHost) -> None:
    said = loadcast(project, "computetarget", "test", "vm")
    assert f"{os.cpu_count()}" in said
    assert "Python 3" in said


def test_a_cut_connection_is_taken_up_again(project: Path, host: SshHost) -> None:
    words = [*LOADCAST, "experiment", "submit", "-c", "vm", "Code/slow.py", "100"]
    said = ""
    with subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
        assert client.stdout is not None
        for number, line in enumerate(client.stdout):
            said += line
            if number in (10, 40, 70):
                host.cut()
    assert client.returncode == 0
    assert said == "".join(f"{number}\n" for number in range(100))


def test_a_run_goes_on_without_its_client_and_is_found_again(project: Path) -> None:
    words = [*LOADCAST, "experiment", "submit", "-c", "vm", "Code/slow.py", "40"]
    with subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "0\n"
        client.kill()
    run = the_run(project)
    assert "running" in loadcast(project, "experiment", "status", run)
    said = loadcast(project, "experiment", "logs", "--follow", run)
    assert said == "".join(f"{number}\n" for number in range(40))
    assert (project / ".loadcast" / "runs" / run / "outputs" / "done").exists()


def test_a_cancelled_run_leaves_nothing(project: Path, host: SshHost) -> None:
    loadcast(project, "experiment", "submit", "-a", "-c", "vm", "Code/slow.py", "100000")
    run = the_run(project)
    assert "cancelled" in loadcast(project, "experiment", "cancel", run)
    left = subprocess.run(["pgrep", "-f", "Code/slow.py 100000"], capture_output=True, text=True)
    assert left.stdout == ""
    loadcast(project, "experiment", "wait", run, code=143)  # as SIGTERM ends it


def test_another_host_at_the_same_address_is_refused(project: Path, host: SshHost) -> None:
    host.new_host_key()
    said = loadcast(project, "experiment", "submit", "-c", "vm", "Code/hello.py", code=2)
    assert "another host key than the one that was pinned" in said


@pytest.mark.parametrize("moment", [0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4])
def test_whenever_the_client_is_killed_its_run_ends_and_its_results_come_back(project: Path, moment: float) -> None:
    words = [*LOADCAST, "experiment", "submit", "-c", "vm", "Code/slow.py", "10"]
    client = subprocess.Popen(words, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    client.send_signal(signal.SIGKILL)
    client.wait()
    records = [*(project / ".loadcast" / "runs").glob("*/record.json")] if (project / ".loadcast").exists() else []
    for record in records:
        run = record.parent.name
        assert run in loadcast(project, "experiment", "list")
        loadcast(project, "experiment", "wait", run)
        assert json.loads(record.read_text())["state"] == "completed"
        assert (record.parent / "log.txt").read_text() == "".join(f"{number}\n" for number in range(10))
        assert (record.parent / "outputs" / "done").exists()
    shutil.rmtree(project / ".loadcast", ignore_errors=True)
