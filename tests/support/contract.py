"""A project with a compute target of any type, `box`, and ways to look at what is on the target's machine.

What the contract test asks of every type it asks through this; a type needs an entry in `_MAKERS` for it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from artefacts import SPARK_HOME
from containers import BASE_IMAGE, STORE, Docker, has_containers, make_docker, require_containers, running_docker
from hosts import Host, running_hosts

LOADCAST = (sys.executable, "-m", "loadcast")
#: A name that a shell, a URL, a command line or a table would take for something else.
HOSTILE = "a 'b' \"c\"; $(id) ü"
_VARIABLES = "EnvironmentVariables:\n  OURS: plain {mark}\n  KEY: env:MINE"
_TIMEOUT_S = 300
#: A small process between: Linux counts a process's own memory to that of those that it forks.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as told:
    told.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
#: Of a head node whose cluster has no applications, as scripts without Spark start none; test_cluster.py has a YARN.
_CLUSTER_COMMANDS = {
    "spark-submit": f"""#!/bin/sh
export SPARK_HOME='{SPARK_HOME}' HADOOP_CONF_DIR=/run
exec "$SPARK_HOME/bin/spark-submit" "$@"
""",
    "yarn": "#!/bin/sh\n",
}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """A project whose target is of a type; `base` is the agent's folder there, seen from here.

    Every script there has the variables OURS, with a mark that nothing else has, and KEY, with a secret.
    """

    kind: str
    project: Path
    base: Path
    environment: Mapping[str, str]
    host: Host | None = None
    docker: Docker | None = None
    secret: str = field(default_factory=lambda: secrets.token_hex(12))
    mark: str = field(default_factory=lambda: secrets.token_hex(12))

    def write(self, path: str, content: str) -> str:
        """Write a file of the project; gives its path."""
        (self.project / path).parent.mkdir(parents=True, exist_ok=True)
        (self.project / path).write_text(content)
        return path

    def loadcast(self, *words: str, code: int = 0) -> str:
        """Run a command in the project, which has to end with a code; gives what it wrote."""
        with self.start(*words, stderr=subprocess.STDOUT) as process:
            said: str = process.communicate(timeout=_TIMEOUT_S)[0]
        assert process.returncode == code, f"{words}: {process.returncode}\n{said}"
        return said

    def start(self, *words: str, **options: Any) -> subprocess.Popen[Any]:
        """A command in the project, whose output is text."""
        defaults: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        environment = {**self.environment, "MINE": self.secret}
        return subprocess.Popen([*LOADCAST, *words], cwd=self.project, env=environment, **{**defaults, **options})

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[Any]]:
        """As start; it is killed where the block ends before it."""
        with self.start(*words) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *argv: str) -> None:
        """Run a command on the target's machine."""
        subprocess.run(self.host.command(argv) if self.host else argv, check=True)

    def memory_kb(self, *words: str, read: Callable[[Iterable[bytes]], Result]) -> tuple[int, Result]:
        """The most memory that a command has at once, and what `read` makes of its output."""
        with tempfile.NamedTemporaryFile() as told:
            measured = [sys.executable, "-c", _MEASURE, told.name, *LOADCAST, *words]
            environment = {**self.environment, "MINE": self.secret}
            process = subprocess.Popen(measured, cwd=self.project, env=environment, stdout=subprocess.PIPE)
            with process:
                assert process.stdout is not None
                result = read(process.stdout)
            assert process.returncode == 0
            return int(told.read()), result

    def runs(self) -> list[str]:
        """The runs that the project knows, the oldest first; of the same second in any order."""
        folder = self.project / ".loadcast" / "runs"
        return sorted(path.parent.name for path in folder.glob("*/record.json"))

    def results(self, run: str) -> Path:
        """The folder of a run in the project."""
        return self.project / ".loadcast" / "runs" / run

    def state(self, run: str) -> str:
        """The state of a run, as the project knows it."""
        state: str = json.loads((self.results(run) / "record.json").read_text())["state"]
        return state

    def release(self, run: str) -> None:
        """Let a script go on that waits for a file `gate` in its working directory."""
        (self.base / "runs" / run / "work" / "gate").touch()

    def processes(self) -> list[str]:
        """The command lines of all processes that scripts of this project have started, on any machine."""
        return [_command_line(path) for path in Path("/proc").glob("[0-9]*") if self._is_marked(path)]

    def _is_marked(self, process: Path) -> bool:
        try:
            return self.mark.encode() in (process / "environ").read_bytes()
        except OSError:
            return False

    def files_with_secret(self) -> list[Path]:
        """Files with the secret in them, here and on the target."""
        files = [path for root in (self.project, self.base) for path in root.rglob("*") if path.is_file()]
        return [path for path in files if self.secret.encode() in path.read_bytes()]


def command_lines() -> list[str]:
    """The command lines of all processes of all machines."""
    return [_command_line(path) for path in Path("/proc").glob("[0-9]*")]


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def wait_until(holds: Callable[[], object]) -> None:
    """Wait for something that has to become true."""
    until = time.monotonic() + _TIMEOUT_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def running_target(kind: str, folder: Path, machines: Machines) -> Iterator[Target]:
    """A project with a target of a type, while the block runs; environments are not made there."""
    project = folder / HOSTILE
    project.mkdir()
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    target, words = _MAKERS[kind](project, machines)
    target.loadcast("computetarget", "attach", kind, "--name", "box", *words)
    config = project / "aml_config" / "box.runconfig"
    text = config.read_text().replace("PrepareEnvironment: true", "PrepareEnvironment: false")
    text = text.replace("EnvironmentVariables: null", _VARIABLES.format(mark=target.mark))
    config.write_text(re.sub("Framework: .*", "Framework: Python", text))
    yield target
    for run in target.runs() if target.processes() else ():  # of a test that has failed
        subprocess.run(
            [*LOADCAST, "experiment", "cancel", run], cwd=project, env=target.environment, capture_output=True
        )


class Machines:
    """The machines that targets are on, each made when it is asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self._docker: Docker | None = None
        self._host: Host | None = None

    @property
    def programs_there(self) -> Path:
        """A folder of commands that the host finds before others."""
        return self.folder / "docker-there" / "bin"

    def docker(self) -> Docker:
        """This machine's."""
        if self._docker is None:
            require_containers()
            self._docker = self._stack.enter_context(running_docker(self.folder / "docker"))
        return self._docker

    def host(self) -> Host:
        """A host with a `docker` of its own, where there can be one."""
        if self._host is None:
            folder, shared = self.folder / "docker-there", [SPARK_HOME, *[STORE] * has_containers()]
            if has_containers():
                make_docker(folder)
            self.programs_there.mkdir(parents=True, exist_ok=True)
            for name, script in _CLUSTER_COMMANDS.items():
                (self.programs_there / name).write_text(script)
                (self.programs_there / name).chmod(0o755)
            hosts = running_hosts(self.folder / "hosts", ["vm"], programs=self.programs_there, shared=[folder, *shared])
            self._host = self._stack.enter_context(hosts)["vm"]
        return self._host


def _local(project: Path, machines: Machines) -> tuple[Target, Sequence[str]]:
    return Target("local", project, project / ".loadcast" / "target", os.environ), ()


def _spark(project: Path, machines: Machines) -> tuple[Target, Sequence[str]]:
    return Target("spark", project, project / ".loadcast" / "target", os.environ), ("--master", "local[1]")


def _localdocker(project: Path, machines: Machines) -> tuple[Target, Sequence[str]]:
    docker, home = machines.docker(), project.parent / "home"
    variables = {**os.environ, "HOME": str(home), "PATH": f"{docker.programs}:{os.environ['PATH']}"}
    target = Target("localdocker", project, home / ".loadcast", variables, docker=docker)
    return target, ("--base-docker-image", BASE_IMAGE)


def _remote(project: Path, machines: Machines) -> tuple[Target, Sequence[str]]:
    host = machines.host()
    return Target("remote", project, host.home / ".loadcast", os.environ, host), login(host)


def _remotedocker(project: Path, machines: Machines) -> tuple[Target, Sequence[str]]:
    require_containers()
    host = machines.host()
    docker = Docker(machines.folder / "docker-there", host)
    target = Target("remotedocker", project, host.home / ".loadcast", os.environ, host, docker)
    return target, (*login(host), "--base-docker-image", BASE_IMAGE)


def _cluster(project: Path, machines: Machines) -> tuple[Target, Sequence[str]]:
    """With the driver on the head node, so that scripts without Spark need no YARN; test_cluster.py has one."""
    host = machines.host()
    target = Target("cluster", project, host.home / ".loadcast", os.environ, host)
    return target, (*login(host), "--yarn-deploy-mode", "client")


def login(host: Host) -> tuple[str, ...]:
    """How `computetarget attach` is told of a host."""
    key = str(host.key_file)
    return "--address", host.address, "--username", host.user, "--ssh-port", str(host.port), "--private-key-file", key


_MAKERS: dict[str, Callable[[Path, Machines], tuple[Target, Sequence[str]]]] = {
    "local": _local,
    "localdocker": _localdocker,
    "remote": _remote,
    "remotedocker": _remotedocker,
    "spark": _spark,
    "cluster": _cluster,
}
