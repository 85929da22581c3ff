"""Containers on machines of the tests: podman under docker's name, its images and containers in a folder of its own."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hosts import Host

_FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "var" / "containers"
_BASE = _FOLDER / "base.tar"
#: The base image, unpacked once; every machine reads it there, and must have this folder.
STORE = _FOLDER / "store"
#: A Debian with Python and Java, as the image is called there.
BASE_IMAGE = "bare-debian"
#: What makes podman work where a sandbox gives it no network, no limits and no control groups of its own.
_CONFIGURATION = """
[containers]
netns = "host"
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
_DOCKER = """#!/bin/sh
CONTAINERS_CONF='{folder}/containers.conf' exec podman --root '{folder}/images' --runroot '{run}' {options} "$@"
"""
#: Where podman has what does not outlive its machine: its name may have 50 letters.
_RUN = "run-folder"


@dataclass(frozen=True)
class Docker:
    """The command `docker` of this machine, or of a host."""

    folder: Path
    host: Host | None = None

    @property
    def programs(self) -> Path:
        """The folder that has the command."""
        return self.folder / "bin"

    def names(self) -> list[str]:
        """The containers that there are, running or not."""
        return self._run("ps", "--all", "--format", "{{.Names}}").split()

    def remove(self) -> None:
        """Remove all of it, what is mounted first."""
        self._run("rm", "--all", "--force")
        self._run("image", "rm", "--all", "--force", check=False)  # the base image stays
        _remove((self.folder / _RUN).read_text())

    def _run(self, *words: str, check: bool = True) -> str:
        argv: Sequence[str | Path] = [self.programs / "docker", *words]
        command = self.host.command(argv) if self.host else argv
        return subprocess.run(command, check=check, capture_output=True, text=True).stdout


def require_containers() -> None:
    """Skip where there is no podman, or no image to start from."""
    if not has_containers():
        pytest.skip("podman and a bare Debian are not at hand: scripts/setup-containers.sh")


def has_containers() -> bool:
    """Whether there is what containers need here."""
    return _BASE.exists() and shutil.which("podman") is not None and os.getuid() == 0


def make_docker(folder: Path) -> Path:
    """A command `docker` in `folder`/bin, which has BASE_IMAGE; returns that folder of programs."""
    _fill_store()
    return _write_command(folder, f"--storage-opt additionalimagestore='{STORE / 'images'}'")


@contextmanager
def running_docker(folder: Path) -> Iterator[Docker]:
    """This machine's `docker`, while the block runs."""
    docker = Docker(make_docker(folder).parent)
    try:
        yield docker
    finally:
        docker.remove()


def _fill_store() -> None:
    """Unpack the base image, once for all tests; each new base.tar anew."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    stamp, wanted = STORE / ".stamp", str(_BASE.stat().st_mtime_ns)
    with open(_FOLDER / "store.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        _remove(STORE)
        docker = _write_command(STORE, "") / "docker"
        subprocess.run([docker, "import", "--quiet", str(_BASE), BASE_IMAGE], check=True, stdout=subprocess.DEVNULL)
        _remove((STORE / _RUN).read_text())
        stamp.write_text(wanted)


def _remove(path: str | Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", "--", path], check=True)


def _write_command(folder: Path, options: str) -> Path:
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (folder / "containers.conf").write_text(_CONFIGURATION)
    docker = programs / "docker"
    run = f"/tmp/loadcast-{secrets.token_hex(6)}"
    (folder / _RUN).write_text(run)
    docker.write_text(_DOCKER.format(folder=folder, run=run, options=options))
    docker.chmod(0o755)
    return programs
