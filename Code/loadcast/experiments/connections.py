"""Whether a target can be reached, and what it has."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadcast.errors import ConfigError
from loadcast.experiments.compute import ComputeTarget


@dataclass(frozen=True)
class Checked:
    """What a target said: its host key as in known_hosts (None: it is not reached by SSH), and facts by name."""

    host_key: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


def check_connection(target: ComputeTarget) -> Checked:
    """Reach a target. Raises ConfigError for one that is reached by SSH: that is not built yet."""
    if target.is_remote:
        raise ConfigError(
            f"The connection to {target.address} cannot be checked: that is not built yet. "
            "Attach the target unchecked: --no-check."
        )
    return Checked()
