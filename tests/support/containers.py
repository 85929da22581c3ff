"""Containers on a host of the tests: podman under docker's name, with images and containers in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_BASE = Path(__file__).resolve().parents[2] / ".venv" / "var" / "containers" / "base.tar"
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
CONTAINERS_CONF='{folder}/containers.conf' exec podman --root '{folder}/images' --runroot '{folder}/run' "$@"
"""


def require_containers() -> None:
    """Skip where there is no podman, or no image to start from."""
    if not _BASE.exists() or shutil.which("podman") is None or os.getuid() != 0:
        pytest.skip("podman and a bare Debian are not at hand: scripts/setup-containers.sh")


def make_docker(folder: Path) -> Path:
    """A command `docker` in `folder`/bin, which has BASE_IMAGE; returns that folder of programs."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (folder / "containers.conf").write_text(_CONFIGURATION)
    docker = programs / "docker"
    docker.write_text(_DOCKER.format(folder=folder))
    docker.chmod(0o755)
    subprocess.run([docker, "import", "--quiet", str(_BASE), BASE_IMAGE], check=True, stdout=subprocess.DEVNULL)
    return programs


def names_of_containers(programs: Path) -> list[str]:
    """The containers that there are, running or not."""
    words = [programs / "docker", "ps", "--all", "--format", "{{.Names}}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def remove_environments(programs: Path) -> None:
    """Remove the images that loadcast has built."""
    docker = programs / "docker"
    words = [docker, "images", "--quiet", "--filter", "reference=loadcast-environment"]
    images = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    if images:
        subprocess.run([docker, "image", "rm", "--force", *images], check=True, stdout=subprocess.DEVNULL)


def remove_docker(programs: Path) -> None:
    """Remove all of it, what is mounted first."""
    subprocess.run([programs / "docker", "rm", "--all", "--force"], capture_output=True)
    subprocess.run([programs / "docker", "image", "rm", "--all", "--force"], capture_output=True)
