"""What a service is, what a target has to do for it, and how it is waited for."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import AfterValidator, Field

from loadcast.artefacts.document import Part
from loadcast.errors import ConfigError, EnvironmentNotReadyError, ServiceError
from loadcast.registry.documents import Kept, Moment, Namespace, Text, now
from loadcast.registry.manifests import Manifest
from loadcast.registry.settings import TargetName
from loadcast.secrets import shown

#: Seconds for a service to load its model, on a busy machine.
READY_S = 120.0
_PAUSE_S = 0.1
_PROBE_S = 5.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def memory_bytes(text: str) -> int:
    """Bytes of a quantity such as 2G or 512Mi. Raises ValueError."""
    number = text.rstrip("KMGi")
    factor = _UNITS.get(text[len(number) :], 0)
    if not (number.isascii() and number.isdigit() and factor and int(number) > 0 and len(number) < 10):
        raise ValueError("wanted a whole number with K, M, G, Ki, Mi or Gi, such as 2G")
    return int(number) * factor


def _memory(text: str) -> str:
    memory_bytes(text)
    return text


class KeyInfo(Part):
    """What is known of a key: when it was made, and the first digits of its SHA-256. Not the key."""

    slot: Literal["primary", "secondary"]
    created: Moment
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]


class Service(Kept):
    """A service. `workers` are processes in each of `replicas`; `memory` is a quantity such as 2G, `cpu` is in cores.

    `image` and `reference` name its image, where the target runs one.
    """

    FILE: ClassVar[str] = "service.json"
    REMEDY: ClassVar[str] = "Look for what runs under its name, and remove the folder."

    name: Text
    created: Moment
    updated: Moment
    target: TargetName
    manifest: Text
    image: Text | None = None
    reference: Text | None = None
    cpu: Annotated[float, Field(ge=0.01, le=256)]
    memory: Annotated[str, AfterValidator(_memory)]
    workers: Annotated[int, Field(ge=1, le=64)]
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    most_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    host: Text
    port: Annotated[int, Field(ge=1, le=65535)]
    namespace: Namespace = "default"
    keys: tuple[KeyInfo, ...] = ()

    @property
    def url(self) -> str:
        """Where it answers; on a cluster, for what runs there."""
        if self.target == "k8s":
            return f"http://{self.name}.{self.namespace}.svc:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def changed(self, **fields: Any) -> Service:
        """With some fields replaced, checked like a new one."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self).model_validate({**values, "updated": now(), **fields})


@dataclass(frozen=True)
class Layout:
    """Where things of a service are: its own folder, and how a manifest is found by its id."""

    folder: Path
    manifest_of: Callable[[str], tuple[Manifest, Path]]

    @property
    def keys(self) -> Path:
        """The folder with the file of digests, which containers see."""
        return self.folder / "keys"

    @property
    def key_file(self) -> Path:
        """The digests of the keys, one a line."""
        return self.keys / "keys"


class Target(Protocol):
    """Where a service runs. Every call may raise a LoadcastError."""

    def key_owner(self) -> int | None:
        """Whose the key file has to be, by the user's number; None for whoever calls."""

    def start(self, service: Service, layout: Layout) -> None:
        """Start it; returns when it is ready. Where it does not get there, nothing of it is left."""

    def stop(self, service: Service, layout: Layout) -> None:
        """End it, the requests under way answered; nothing where it does not run."""

    def state(self, service: Service, layout: Layout) -> str:
        """How it stands, in a word or two."""

    def log(self, service: Service, layout: Layout, lines: int) -> str:
        """The last lines of what it says."""

    def replace(self, old: Service, new: Service, layout: Layout) -> None:
        """Run `new` in place of `old` once it has been ready; else `old` goes on, and ServiceError is raised."""

    def scaled(self, service: Service, number: int) -> Service:
        """What the service is with that many. Raises ConfigError where the target cannot."""

    def keys_changed(self, service: Service, layout: Layout) -> None:
        """Let the service take the keys that are in the file now."""


def free_port(host: str) -> int:
    """A port that nothing listens on just now. Raises EnvironmentNotReadyError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    except (OSError, UnicodeError) as error:
        raise EnvironmentNotReadyError(
            f"host: found {shown(host, 100)}, which cannot be bound ({error}). Wanted an address of this machine."
        ) from error


def check_port(host: str, port: int) -> None:
    """Raise ConfigError where something listens on a port already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port: found {port} on {host}, which is taken or not to be had. Choose another."
            ) from error


def wait_ready(host: str, port: int, has_ended: Callable[[], bool], log: Callable[[], str]) -> None:
    """Wait until a service says that it is ready. Raises ServiceError, with the last line of its log."""
    deadline_s = time.monotonic() + READY_S
    while not is_ready(host, port):
        if has_ended() or time.monotonic() > deadline_s:
            lines = [line for line in log().splitlines() if line.strip()]
            what = "ended before it was ready" if has_ended() else f"was not ready within {READY_S:.0f} s"
            said = shown(lines[-1] if lines else "nothing", 300).rstrip(".")
            raise ServiceError(f"The service {what}. The last that it said: {said}.")
        time.sleep(_PAUSE_S)


def is_ready(host: str, port: int) -> bool:
    """Whether a service at this address says that it is ready."""
    connection = http.client.HTTPConnection(_EVERYWHERE.get(host, host), port, timeout=_PROBE_S)
    try:
        connection.request("GET", "/health/ready", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
