"""A service as objects of Kubernetes: pure, so that it can be looked at and checked without a cluster."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import yaml

from loadcast.registry.images import KEY_FILE, PORT, USER
from loadcast.registry.service import Service

_KEYS_SOURCE = "/run/secret"
_CPU_TARGET_PERCENT = 70
_GRACE_S = 45

Object = dict[str, Any]


def manifest_text(service: Service, key_lines: Sequence[str]) -> str:
    """All objects as YAML, for kubectl apply."""
    return yaml.safe_dump_all(objects(service, key_lines), sort_keys=False)


def objects(service: Service, key_lines: Sequence[str]) -> list[Object]:
    """Secret, Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget and NetworkPolicy.

    The Secret has the digests of the keys, not the keys.
    """
    return [
        _secret(service, key_lines),
        _deployment(service, key_lines),
        _service(service),
        _autoscaler(service),
        _disruption_budget(service),
        _network_policy(service),
    ]


def _object(service: Service, version: str, kind: str, **content: Any) -> Object:
    metadata = {"name": service.name, "namespace": service.namespace, "labels": _labels(service)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _labels(service: Service) -> dict[str, str]:
    return {**_selector(service), "app.kubernetes.io/managed-by": "loadcast"}


def _selector(service: Service) -> dict[str, str]:
    return {"app.kubernetes.io/name": service.name, "app.kubernetes.io/component": "scoring"}


def _content_of(key_lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in key_lines).encode()


def _secret(service: Service, key_lines: Sequence[str]) -> Object:
    data = {"keys": base64.b64encode(_content_of(key_lines)).decode()}
    return _object(service, "v1", "Secret", type="Opaque", data=data)


def _deployment(service: Service, key_lines: Sequence[str]) -> Object:
    # A pod takes new keys as it starts: another annotation starts the pods anew, one after the other.
    annotations = {"loadcast/keys": hashlib.sha256(_content_of(key_lines)).hexdigest()}
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_key_copier(service)],
        "containers": [_scorer(service)],
        "volumes": [
            {"name": "secret", "secret": {"secretName": service.name, "defaultMode": 0o400}},
            {"name": "keys", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }
    # How many there are is the autoscaler's: a number here would set that back with each update.
    spec = {
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": _selector(service)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": _labels(service), "annotations": annotations}, "spec": pod},
    }
    return _object(service, "apps/v1", "Deployment", spec=spec)


def _key_copier(service: Service) -> Object:
    """Kubernetes opens a Secret's file to the pod's group, and the service takes none that others can read."""
    copy = f"umask 077 && cat {_KEYS_SOURCE}/keys > {KEY_FILE}"
    return {
        **_container(service, "keys"),
        "command": ["sh", "-c", copy],
        "volumeMounts": [
            {"name": "secret", "mountPath": _KEYS_SOURCE, "readOnly": True},
            {"name": "keys", "mountPath": _folder(KEY_FILE)},
        ],
    }


def _scorer(service: Service) -> Object:
    args = ["--port", str(PORT), "--workers", str(service.workers), "--name", service.name, "--key-file", KEY_FILE]
    return {
        **_container(service, "scoring"),
        "args": args,
        "ports": [{"name": "http", "containerPort": PORT}],
        # A model may take its time to load; from then on, a minute without an answer is the end of a pod.
        "startupProbe": {**_probe("live"), "periodSeconds": 2, "failureThreshold": 90},
        "livenessProbe": {**_probe("live"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**_probe("ready"), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "volumeMounts": [
            {"name": "keys", "mountPath": _folder(KEY_FILE), "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _container(service: Service, name: str) -> Object:
    limits = {"cpu": f"{round(service.cpu * 1000)}m", "memory": service.memory}
    return {
        "name": name,
        "image": service.reference,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": limits, "limits": dict(limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _probe(route: str) -> Object:
    return {"httpGet": {"path": f"/health/{route}", "port": "http"}}


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _service(service: Service) -> Object:
    ports = [{"name": "http", "port": service.port, "targetPort": "http"}]
    return _object(service, "v1", "Service", spec={"type": "ClusterIP", "selector": _selector(service), "ports": ports})


def _autoscaler(service: Service) -> Object:
    target = {"type": "Utilization", "averageUtilization": _CPU_TARGET_PERCENT}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
        "minReplicas": service.replicas,
        "maxReplicas": max(service.replicas, service.most_replicas),
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return _object(service, "autoscaling/v2", "HorizontalPodAutoscaler", spec=spec)


def _disruption_budget(service: Service) -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _selector(service)}}
    return _object(service, "policy/v1", "PodDisruptionBudget", spec=spec)


def _network_policy(service: Service) -> Object:
    """In: the port alone. Out: nothing, as the model lies in the image."""
    spec = {
        "podSelector": {"matchLabels": _selector(service)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": PORT}]}],
        "egress": [],
    }
    return _object(service, "networking.k8s.io/v1", "NetworkPolicy", spec=spec)
