"""Scripts submitted to containers, on this machine and on one that is reached by SSH: real ones, of podman."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from containers import (
    BASE_IMAGE,
    make_docker,
    names_of_containers,
    remove_docker,
    remove_environments,
    require_containers,
)
from ssh_host import require_ssh_host, running_ssh_host

LOADCAST = (sys.executable, "-m", "loadcast")
HELLO = """
import os, sys
print(sys.version_info[:2], os.path.exists("/etc/this-machine"), os.environ["OURS"], os.environ["KEY"], *sys.argv[1:])
open("outputs/a b", "w").write("42")
sys.exit(7)
"""
SLOW = """
import os, time
print("begun", flush=True)
time.sleep(600)
"""
WANTS = """
import packaging
print(packaging.__version__, packaging.__file__)
"""


@dataclass(frozen=True)
class Project:
    """A project with a target `box`, the commands that its machine has, and its agent's folder, seen from here."""

    folder: Path
    programs: Path
    base: Path
    environment: Mapping[str, str]

    def loadcast(self, *words: str, code: int = 0) -> str:
        """Run a command in the project; gives what it wrote."""
        done = subprocess.run(
            [*LOADCAST, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def the_run(self) -> str:
        (folder,) = (self.folder / ".loadcast" / "runs").iterdir()
        return folder.name


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    require_containers()
    require_ssh_host()
    folder = make_docker(tmp_path_factory.mktemp("docker"))
    yield folder
    remove_docker(folder)


@pytest.fixture(params=["localdocker", "remotedocker"])
def project(
    request: pytest.FixtureRequest, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project with a target whose containers start from BASE_IMAGE, and whose environment is not made."""
    monkeypatch.setenv("MINE", "sesame")
    folder = tmp_path / "a project"
    (folder / "Code").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for name, content in (("hello", HELLO), ("slow", SLOW), ("wants", WANTS)):
        (folder / "Code" / f"{name}.py").write_text(content)
    attach = ("computetarget", "attach", request.param, "--name", "box", "--base-docker-image", BASE_IMAGE)
    if request.param == "localdocker":
        home = tmp_path / "home"
        variables = {**os.environ, "HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}
        made = Project(folder, programs, home / ".loadcast", variables)
        _attach(made, *attach)
        yield made
        return
    with running_ssh_host(tmp_path / "host", programs) as host:
        made = Project(folder, programs, host.home / ".loadcast", os.environ)
        _attach(
            made, *attach, "--address", host.address, "--username", host.user, "--ssh-port", str(host.port),
            "--private-key-file", str(host.key_file),
        )  # fmt: skip
        yield made


def _attach(project: Project, *words: str) -> None:
    project.loadcast(*words)
    config = project.folder / "aml_config" / "box.runconfig"
    text = config.read_text().replace("PrepareEnvironment: true", "PrepareEnvironment: false")
    variables = "EnvironmentVariables:\n  OURS: plain\n  KEY: env:MINE"
    config.write_text(text.replace("EnvironmentVariables: null", variables))


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_script_runs_in_a_container_and_its_results_come_back(project: Project) -> None:
    words = ["two words", "a;b", "$(id)", "'\"", "ü", "new\nline", "-x"]
    said = project.loadcast("experiment", "submit", "-c", "box", "./Code/hello.py", *words, code=7)
    assert f"(3, 11) False plain sesame {' '.join(words)}\n" in said
    run = project.folder / ".loadcast" / "runs" / project.the_run()
    assert (run / "outputs" / "a b").read_text() == "42"
    kept = [path for root in (project.folder, project.base) for path in root.rglob("*") if path.is_file()]
    assert not [path for path in kept if path.name not in ("log", "log.txt") and b"sesame" in path.read_bytes()]
    assert names_of_containers(project.programs) == []


def test_a_cancelled_run_leaves_no_container(project: Project) -> None:
    project.loadcast("experiment", "submit", "-a", "-c", "box", "Code/slow.py")
    run = project.the_run()
    wait_until(lambda: project.loadcast("experiment", "logs", run).count("begun"))
    assert names_of_containers(project.programs) == [f"loadcast-{run}"]
    commands = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True).stdout
    assert f"loadcast-{run}" in commands
    assert "sesame" not in commands
    assert "cancelled" in project.loadcast("experiment", "cancel", run)
    assert names_of_containers(project.programs) == []


def test_the_container_of_a_run_that_was_lost_can_be_cancelled(project: Project) -> None:
    project.loadcast("experiment", "submit", "-a", "-c", "box", "Code/slow.py")
    run = project.the_run()
    wait_until(lambda: project.loadcast("experiment", "logs", run).count("begun"))
    state = project.base / "runs" / run / "state.json"
    os.kill(json.loads(state.read_text())["keeper"], signal.SIGKILL)
    assert "lost" in project.loadcast("experiment", "status", run)
    assert names_of_containers(project.programs) == [f"loadcast-{run}"]
    project.loadcast("experiment", "cancel", run)
    assert names_of_containers(project.programs) == []


COPIED = """
import os, signal, sys, time
from pathlib import Path
def end(*_):
    Path("outputs/ended").write_text("as asked")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
print(os.getcwd(), Path("Code/hello.py").exists(), os.environ["KEY"], *sys.argv[1:])
Path(os.environ["LOADCAST_RUN_LOG"]).write_text("{}\\n")
Path("outputs/deep").mkdir()
Path("outputs/deep/a b").write_text("42")
os.symlink("/etc/passwd", "outputs/link")
print("begun", flush=True)
time.sleep(600 if "wait" in sys.argv else 0)
sys.exit(7)
"""


@pytest.mark.parametrize("project", ["localdocker"], indirect=True)
def test_without_volumes_files_are_copied_and_results_come_back(project: Project) -> None:
    compute = project.folder / "aml_config" / "box.compute"
    compute.write_text(compute.read_text().replace("sharedVolumes: true", "sharedVolumes: false"))
    (project.folder / "Code" / "copied.py").write_text(COPIED)
    said = project.loadcast("experiment", "submit", "-c", "box", "Code/copied.py", "a b;$(id)", code=7)
    assert "/loadcast-run/work True sesame a b;$(id)\nbegun\n" in said
    run = project.folder / ".loadcast" / "runs" / project.the_run()
    assert (run / "logged.jsonl").read_text() == "{}\n"
    assert [path.name for path in (run / "outputs").rglob("*")] == ["deep", "a b"]
    assert names_of_containers(project.programs) == []
    project.loadcast("experiment", "remove", project.the_run())
    project.loadcast("experiment", "submit", "-a", "-c", "box", "Code/copied.py", "wait")
    run = project.folder / ".loadcast" / "runs" / project.the_run()
    wait_until(lambda: project.loadcast("experiment", "logs", run.name).count("begun"))
    project.loadcast("experiment", "cancel", run.name)
    assert (run / "outputs" / "ended").read_text() == "as asked"
    assert names_of_containers(project.programs) == []


def test_an_environment_becomes_an_image_once(project: Project) -> None:
    remove_environments(project.programs)
    conda = project.folder / "aml_config" / "conda_dependencies.yml"
    conda.write_text("name: x\ndependencies: [python=3.11, openjdk=17, pip, {pip: [packaging==25.0]}]\n")
    config = project.folder / "aml_config" / "box.runconfig"
    config.write_text(config.read_text().replace("PrepareEnvironment: false", "PrepareEnvironment: true"))
    assert "docker build" in project.loadcast("experiment", "prepare", "-c", "box")
    assert "docker build" not in project.loadcast("experiment", "prepare", "-c", "box")
    assert "25.0 /opt/loadcast/environments/" in project.loadcast("experiment", "submit", "-c", "box", "Code/wants.py")
