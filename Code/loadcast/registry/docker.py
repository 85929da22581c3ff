"""The target `docker`: a service as a container of this machine, which its engine restarts."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from loadcast.errors import ConfigError, EnvironmentNotReadyError, ServiceError
from loadcast.registry.images import KEY_FILE, USER
from loadcast.registry.programs import completed, output_of, require_program
from loadcast.registry.service import Layout, Service, check_port, free_port, is_ready, memory_bytes, wait_ready
from loadcast.serving.looks import LOOK_EVERY_S

_PREFIX = "loadcast-service-"
_STOP_S = 40
_TMP = "/tmp:rw,noexec,nosuid,size=256m"


def run_words(service: Service, layout: Layout, name: str, user: str) -> list[str]:
    """The command line that starts a container: no rights, nothing to write but /tmp, within its limits."""
    folder = str(layout.keys.absolute())
    if any(sign in folder for sign in ',"\n'):
        raise ConfigError(
            f"{folder}: found a sign that docker cannot take in a mounted folder's name. Move the project."
        )
    mount = f"type=bind,source={folder},target={os.path.dirname(KEY_FILE)},readonly"
    host = f"[{service.host}]" if ":" in service.host else service.host
    return [
        *("docker", "run", "--detach", "--name", name, "--label", f"loadcast.service={service.name}"),
        *("--cpus", f"{service.cpu:g}", "--memory", f"{memory_bytes(service.memory)}b"),
        *("--read-only", "--tmpfs", _TMP, "--cap-drop=ALL", "--security-opt", "no-new-privileges"),
        *("--user", user, "--restart", "unless-stopped", "--stop-timeout", str(_STOP_S)),
        # The same port inside: where containers share the machine's network, it is that one.
        *("--publish", f"{host}:{service.port}:{service.port}", "--mount", mount),
        *(service.reference or "", "--port", str(service.port), "--workers", str(service.workers)),
        *("--name", service.name, "--key-file", KEY_FILE),
    ]


class Docker:
    """Services as containers, by the command docker (or podman under that name)."""

    def key_owner(self) -> int | None:
        return USER if os.getuid() == 0 else None

    def start(self, service: Service, layout: Layout) -> None:
        require_program("docker")
        name = _container(service)
        if _is_there(name):
            raise ConfigError(
                f"There is a container {name} already, of another project. Choose another service's name."
            )
        check_port(service.host, service.port)
        self._run(service, layout, name)

    def stop(self, service: Service, layout: Layout) -> None:
        self._remove(_container(service))

    def state(self, service: Service, layout: Layout) -> str:
        done = completed(["docker", "inspect", "--format", "{{.State.Status}}", _container(service)])
        status = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode or status != "running":
            return status or "stopped"
        return "ready" if is_ready(service.host, service.port) else "not ready"

    def log(self, service: Service, layout: Layout, lines: int) -> str:
        return _log(_container(service), lines)

    def replace(self, old: Service, new: Service, layout: Layout) -> None:
        """Try the new one on another port, while the old one answers; then the port changes hands."""
        name = _container(old)
        trial, before = f"{name}-trial", f"{name}-before"
        self._remove(trial)
        self._run(new.changed(port=free_port(new.host)), layout, trial)
        self._remove(trial)
        self._remove(before)
        if not _is_there(name):  # somebody else has removed it
            self._run(new, layout, name)
            return
        _docker("stop", "--time", str(_STOP_S), name)
        _docker("rename", name, before)
        try:
            self._run(new, layout, name)
        except (ServiceError, EnvironmentNotReadyError) as error:
            _docker("rename", before, name)
            _docker("start", name)
            wait_ready(old.host, old.port, lambda: _has_ended(name), lambda: _log(name, 50))
            raise ServiceError(f"{error} The service runs as before.") from error
        self._remove(before)

    def scaled(self, service: Service, number: int) -> Service:
        raise ConfigError(
            f"replicas: found {number}, and the target docker runs one container for a service. Create it with "
            f"--workers {number} for as many processes in it, or with --target k8s for replicas."
        )

    def keys_changed(self, service: Service, layout: Layout) -> None:
        """Wait until each process of the service looks at its key file again when it is asked."""
        time.sleep(LOOK_EVERY_S)

    def _run(self, service: Service, layout: Layout, name: str) -> None:
        user = f"{USER}:{USER}" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"
        try:
            output_of(run_words(service, layout, name, user))
            wait_ready(service.host, service.port, lambda: _has_ended(name), lambda: _log(name, 50))
        except BaseException:
            self._remove(name)
            raise

    def _remove(self, name: str) -> None:
        completed(["docker", "stop", "--time", str(_STOP_S), name])
        completed(["docker", "rm", "--force", name])


def _container(service: Service) -> str:
    return f"{_PREFIX}{service.name}"


def _is_there(name: str) -> bool:
    return completed(["docker", "container", "inspect", name]).returncode == 0


def _docker(*words: str) -> None:
    output_of(("docker", *words))


def _has_ended(name: str) -> bool:
    """Whether a container has ended, or goes on ending: the engine starts it again each time."""
    done = completed(["docker", "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", name])
    words: Sequence[str] = done.stdout.decode("utf-8", "replace").split()
    return len(words) != 2 or words[0] in ("exited", "dead") or words[1] not in ("0", "1")


def _log(name: str, lines: int) -> str:
    done = completed(["docker", "logs", "--tail", str(lines), name])
    return (done.stdout + done.stderr).decode("utf-8", "replace")
