"""Services: made from an image or a manifest on one of the targets, and kept in the account.

services/NAME/
  service.json   what it is
  keys/keys      the digests of its two keys
  …              logs, and what its target keeps
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadcast.errors import ConfigError, LoadcastError
from loadcast.registry.docker import Docker
from loadcast.registry.documents import checked_service_name, made, now, read_document, write_document
from loadcast.registry.images import find_image
from loadcast.registry.kubernetes import Kubernetes
from loadcast.registry.local import Local
from loadcast.registry.manifests import find_manifest
from loadcast.registry.service import Layout, Service, Target, free_port
from loadcast.registry.service_keys import Slot, make_keys, read_lines, regenerate, write_lines
from loadcast.registry.settings import TargetName, current_account, current_environment
from loadcast.system.locks import locked

_TARGETS: dict[TargetName, type[Target]] = {"local": Local, "docker": Docker, "k8s": Kubernetes}
_CLUSTER_PORT = 80
_OF_CLUSTERS = ("replicas", "most_replicas", "namespace")


@dataclass(frozen=True)
class Wanted:
    """What a service is to be; what is None comes from the environment, or from what the service is already."""

    image: str | None = None
    manifest: str | None = None
    target: TargetName | None = None
    cpu: float | None = None
    memory: str | None = None
    workers: int | None = None
    replicas: int | None = None
    most_replicas: int | None = None
    host: str | None = None
    port: int | None = None
    namespace: str | None = None


@dataclass(frozen=True)
class Listed:
    """A service by its name, and how it stands; its document, where that can be read."""

    name: str
    state: str
    service: Service | None


def create_service(project: Path, name: str, wanted: Wanted) -> tuple[Service, dict[Slot, str]]:
    """Start a service; returns it and its keys, which are not kept. Raises LoadcastError; then nothing is left."""
    checked_service_name(name, "The service's name")
    environment = current_environment(project)
    target_name = wanted.target or environment.target
    fields = _fields(project, wanted, target_name)
    if target_name == "k8s":
        replicas = wanted.replicas or environment.agents
        fields |= {"replicas": replicas, "most_replicas": max(replicas, wanted.most_replicas or 1)}
        fields |= {"namespace": wanted.namespace or environment.namespace, "port": wanted.port or _CLUSTER_PORT}
    target = _TARGETS[target_name]()
    with _changing(project, name) as layout:
        if (layout.folder / Service.FILE).exists():
            raise ConfigError(
                f"There is a service {name} already. Change it: loadcast service update realtime -i {name}"
            )
        try:
            keys, infos = make_keys(layout.key_file, target.key_owner())
            service = _service({"name": name, "target": target_name, **fields, "keys": infos})
            write_document(layout.folder / Service.FILE, service)
            target.start(service, layout)
        except BaseException:
            shutil.rmtree(layout.folder, ignore_errors=True)
            raise
    return service, keys


def find_service(project: Path, name: str) -> tuple[Service, Target, Layout]:
    """A service, its target and where its things are. Raises ConfigError where there is none."""
    layout = _layout(project, checked_service_name(name, "The service's id"))
    service = read_document(Service, layout.folder / Service.FILE)
    if service is None:
        raise ConfigError(f"There is no service {name}. These are there: loadcast service list realtime")
    return service, _TARGETS[service.target](), layout


def list_services(project: Path) -> list[Listed]:
    """All services of the account by name, and how they stand; one that cannot be asked says why."""
    top = current_account(project) / "services"
    names = sorted(path.parent.name for path in top.glob(f"*/{Service.FILE}")) if top.is_dir() else []
    listed = []
    for name in names:
        service = None
        try:
            service, target, layout = find_service(project, name)
            listed.append(Listed(name, target.state(service, layout), service))
        except LoadcastError as error:
            listed.append(Listed(name, str(error), service))
    return listed


def update_service(project: Path, name: str, wanted: Wanted) -> Service:
    """Let a service be another, such as one with another model. Raises ServiceError; then it is as before."""
    with _changing(project, name) as layout:
        old, target, _ = find_service(project, name)
        if wanted.target not in (None, old.target):
            raise ConfigError(
                f"target: found {wanted.target}, and {name} is on {old.target}. Create another service there."
            )
        new = _service({**_values(old), **_fields(project, wanted, old.target), "updated": now()})
        target.replace(old, new, layout)
        write_document(layout.folder / Service.FILE, new)
    return new


def scale_service(project: Path, name: str, number: int) -> Service:
    """Let a service have so many replicas, or processes on this machine. Raises ConfigError where that cannot be."""
    with _changing(project, name) as layout:
        old, target, _ = find_service(project, name)
        new = target.scaled(old, number)
        target.replace(old, new, layout)
        write_document(layout.folder / Service.FILE, new)
    return new


def regenerate_key(project: Path, name: str, slot: Slot) -> str:
    """A new key in place of one of the two; returns it, as it is not kept. The other key goes on."""
    with _changing(project, name) as layout:
        service, target, _ = find_service(project, name)
        before = read_lines(layout.key_file)
        key, infos = regenerate(layout.key_file, target.key_owner(), slot, service.keys)
        try:
            target.keys_changed(service, layout)
        except BaseException:  # nobody would know the new key
            write_lines(layout.key_file, before, target.key_owner())
            raise
        write_document(layout.folder / Service.FILE, service.changed(keys=infos))
    return key


def delete_service(project: Path, name: str) -> None:
    """End a service, and forget it and its keys."""
    with _changing(project, name) as layout:
        service, target, _ = find_service(project, name)
        target.stop(service, layout)
        shutil.rmtree(layout.folder, ignore_errors=True)


def service_log(project: Path, name: str, lines: int) -> str:
    """The last lines of what a service has said."""
    service, target, layout = find_service(project, name)
    return target.log(service, layout, lines)


def _layout(project: Path, name: str) -> Layout:
    folder = current_account(project) / "services" / name
    return Layout(folder, partial(find_manifest, project))


@contextmanager
def _changing(project: Path, name: str) -> Iterator[Layout]:
    """Nobody else changes the service meanwhile."""
    layout = _layout(project, checked_service_name(name, "The service's id"))
    locks = layout.folder.parent / ".locks" / name
    with locked(locks):
        yield layout


def _fields(project: Path, wanted: Wanted, target: TargetName) -> dict[str, object]:
    """What is wanted, as fields of a service; an image stands for its manifest as well."""
    fields = {name: value for name, value in vars(wanted).items() if value is not None and name != "target"}
    in_vain = [name for name in _OF_CLUSTERS if name in fields] if target != "k8s" else []
    if in_vain:
        raise ConfigError(
            f"{in_vain[0]}: found {fields[in_vain[0]]}, and the target {target} has none. More processes: --workers; "
            "replicas: --target k8s."
        )
    if wanted.image:
        image = find_image(project, wanted.image)
        fields |= {"image": image.id, "reference": image.reference, "manifest": image.manifest}
    elif wanted.manifest:
        if target != "local":
            raise ConfigError(f"image: found none, and the target {target} runs one. Make it: loadcast image create")
        fields["manifest"] = find_manifest(project, wanted.manifest)[0].id
    return fields


def _values(service: Service) -> dict[str, object]:
    return {name: getattr(service, name) for name in service.model_fields_set}


def _service(fields: dict[str, object]) -> Service:
    """A service with these fields and defaults for the others. Raises ConfigError that names the first fault."""
    defaults: dict[str, object] = {"created": now(), "updated": now(), "cpu": 0.5, "memory": "2G", "workers": 2}
    known = {**defaults, "host": "127.0.0.1", **fields}
    if "manifest" not in known:
        raise ConfigError("image: found none, wanted --image-id, or --manifest-id for the target local.")
    known.setdefault("port", free_port(str(known["host"])))
    return made(Service, known)
