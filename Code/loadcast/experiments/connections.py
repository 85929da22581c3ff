"""Whether a target can be reached, which host key it has, and what is there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError
from loadcast.experiments.compute import ComputeTarget
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
    if target.is_service:
        return Checked(facts=type_of(target).runner(target, "new", Path()).facts())
    if not target.is_remote:
        return Checked()
    pinned = target.model_copy(update={"host_key": target.host_key or ask_host_key(target)})
    return Checked(pinned.host_key, type_of(pinned).runner(pinned, "new", Path()).facts())


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
