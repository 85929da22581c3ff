"""The target `k8s`: a service on a cluster of Kubernetes, by the command kubectl and its configuration."""

from __future__ import annotations

import json
from pathlib import Path

from loadcast.errors import EnvironmentNotReadyError, OutputError, ServiceError
from loadcast.registry.k8s_objects import manifest_text
from loadcast.registry.programs import completed, output_of
from loadcast.registry.service import Layout, Service
from loadcast.registry.service_keys import read_lines
from loadcast.system.small_files import replace_file

_ROLLOUT_S = 300
_FILE = "kubernetes.yaml"


class Kubernetes:
    """Services as Deployments with all that belongs to them."""

    def key_owner(self) -> int | None:
        return None

    def start(self, service: Service, layout: Layout) -> None:
        try:
            self._apply(service, layout)
        except BaseException:
            self.stop(service, layout)
            raise

    def stop(self, service: Service, layout: Layout) -> None:
        """Remove its objects."""
        if (layout.folder / _FILE).exists():
            content = (layout.folder / _FILE).read_bytes()
            output_of(["kubectl", "delete", "--ignore-not-found", "--wait=true", "-f", "-"], content)

    def state(self, service: Service, layout: Layout) -> str:
        done = completed(["kubectl", "get", "deployment", service.name, "-o", "json", *_in(service)])
        if done.returncode:
            return "stopped"
        try:
            status = json.loads(done.stdout).get("status", {})
            return f"{int(status.get('readyReplicas', 0))} of {int(status.get('replicas', 0))} ready"
        except (ValueError, AttributeError, TypeError) as error:
            raise ServiceError(f"kubectl get deployment {service.name}: found no JSON of a deployment.") from error

    def log(self, service: Service, layout: Layout, lines: int) -> str:
        selector = f"app.kubernetes.io/name={service.name}"
        return output_of(["kubectl", "logs", "-l", selector, "--tail", str(lines), "--prefix", *_in(service)])

    def replace(self, old: Service, new: Service, layout: Layout) -> None:
        """The cluster keeps old pods until new ones are ready; where they do not get there, back to the old ones."""
        try:
            self._apply(new, layout)
        except (ServiceError, EnvironmentNotReadyError) as error:
            self._apply(old, layout)
            raise ServiceError(f"{error} The service runs as before.") from error

    def scaled(self, service: Service, number: int) -> Service:
        return service.changed(replicas=number, most_replicas=max(number, service.most_replicas))

    def keys_changed(self, service: Service, layout: Layout) -> None:
        """Pods with the new keys take the place of the others, one after the other."""
        self._apply(service, layout)

    def _apply(self, service: Service, layout: Layout) -> None:
        text = manifest_text(service, read_lines(layout.key_file))
        _write(layout.folder / _FILE, text)
        output_of(["kubectl", "apply", "-f", "-"], text.encode())
        words = ["rollout", "status", f"deployment/{service.name}", f"--timeout={_ROLLOUT_S}s"]
        output_of(["kubectl", *words, *_in(service)])


def _in(service: Service) -> list[str]:
    return ["--namespace", service.namespace]


def _write(file: Path, text: str) -> None:
    try:
        replace_file(file, text.encode(), 0o600)
    except OSError as error:
        raise OutputError(f"Cannot write {file}: {error.strerror or error}. Make room for it.") from error
