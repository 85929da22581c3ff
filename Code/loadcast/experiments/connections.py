"""Whether a target can be reached, which host key it has, and what is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError
from loadcast.experiments.compute import FIELDS, ComputeTarget
from loadcast.experiments.machines import ssh_program
from loadcast.experiments.targets import type_of
from loadcast.secrets import shown

#: Best first.
_KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_SCAN_S = 10


@dataclass(frozen=True)
class Checked:
    """What a target said: its host key as in known_hosts (None: it is not reached by SSH), and facts by name."""

    host_key: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


def check_connection(target: ComputeTarget) -> Checked:
    """Reach a target, and ask what it has; one without a pinned host key is asked for it.

    Raises EnvironmentNotReadyError where it cannot be reached, ConfigError where it has another key than was pinned.
    """
    if target.is_remote:
        target = target.model_copy(update={"host_key": target.host_key or ask_host_key(target)})
    elif not (target.is_service or _in_docker(target)):
        return Checked()
    return Checked(target.host_key, check_target(target, "new", Path()))


def check_facts(target: ComputeTarget, facts: Mapping[str, str]) -> str | None:
    """Whether a target has what its type cannot do without; returns what it may want beside that, in words.

    Facts that nobody knows are no fault. Raises EnvironmentNotReadyError, which says what to do.
    """
    where = target.address or "this machine"
    if _in_docker(target) and facts.get("docker") == "none":
        raise EnvironmentNotReadyError(
            f"{where}: found no docker, wanted it for a target of type {target.type}. Install Docker there, or podman "
            "under that name (Debian or Ubuntu: apt-get install podman-docker), or attach type "
            f"{'remote' if target.is_remote else 'local'}. --no-check attaches it all the same."
        )
    if target.is_remote and "python" in facts and not _is_usable(facts["python"]):
        name = target.python_location if target.python_location and not _in_docker(target) else "python3"
        raise EnvironmentNotReadyError(
            f"{where}: {name} is {shown(facts['python'], 100)}, wanted Python 3.8 or newer. Install one there, or say "
            "where it is with --python-location. --no-check attaches it all the same."
        )
    if target.type == "cluster" and facts.get("spark-submit") == "none" and target.spark_submit_location is None:
        return f"{where} has no spark-submit on its PATH; say where it is with --spark-submit-location."
    return None


def _in_docker(target: ComputeTarget) -> bool:
    return "baseDockerImage" in FIELDS[target.type].required


def _is_usable(said: str) -> bool:
    """Whether what an interpreter says of its version is one that the agent runs on."""
    version = re.fullmatch(r"Python (\d+)\.(\d+)\S*", said.strip())
    return version is not None and (int(version[1]), int(version[2])) >= (3, 8)


def check_target(target: ComputeTarget, name: str, project: Path) -> dict[str, str]:
    """What an attached target has. Raises as check_connection."""
    return type_of(target).runner(target, name, project).facts()


def ask_host_key(target: ComputeTarget) -> str:
    """The key that a host shows to anybody: whoever answers there now is trusted from now on, and nobody else."""
    address = target.address or ""
    types = ",".join(_KEY_TYPES)
    words = [ssh_program("ssh-keyscan"), "-T", str(_SCAN_S), "-p", str(target.ssh_port), "-t", types, "--", address]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    keys = {parts[1]: parts[2] for line in done.stdout.splitlines() if len(parts := line.split()) == 3}
    for kind in _KEY_TYPES:
        if kind in keys:
            return f"{kind} {keys[kind]}"
    raise EnvironmentNotReadyError(
        f"Nobody answers as an SSH server at {shown(address)}, port {target.ssh_port}. "
        "Is the machine on, and do its firewall's rules let you in?"
    )
