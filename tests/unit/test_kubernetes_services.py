"""Services on Kubernetes: objects held against its own schemas, and a fake kubectl."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from loadcast.cli.main import main
from loadcast.errors import EnvironmentNotReadyError, ServiceError
from loadcast.registry.documents import now
from loadcast.registry.k8s_objects import manifest_text
from loadcast.registry.service import Service
from loadcast.registry.services import (
    Wanted,
    create_service,
    delete_service,
    find_service,
    list_services,
    regenerate_key,
    scale_service,
    update_service,
)
from managed import FakeProgram, on_path, write_image, write_manifest

LINES = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
KINDS = ["Secret", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"]
#: The oldest and the newest whose schemas are at hand with all six kinds in these versions.
VERSIONS = ("1.25", kubernetes_validate.latest_version())


def service(**changes: Any) -> Service:
    fields: dict[str, Any] = {
        **{"name": "demo", "target": "k8s", "manifest": "forecast:1", "image": "forecast:1"},
        **{"reference": "registry.example/forecast:1", "cpu": 0.5, "memory": "2G", "workers": 2, "replicas": 3},
        **{"most_replicas": 6, "host": "127.0.0.1", "port": 80, "created": now(), "updated": now()},
        **changes,
    }
    return Service(**fields)


def objects(text: str) -> dict[str, Any]:
    return {item["kind"]: item for item in yaml.safe_load_all(text)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_image(tmp_path, write_manifest(tmp_path))
    return tmp_path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    """A fake kubectl, to which all goes well."""
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    return FakeProgram(tmp_path / "bin", "kubectl")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("changes", [{}, {"replicas": 1, "cpu": 0.01, "memory": "512Mi", "namespace": "scoring"}])
def test_the_objects_are_as_kubernetes_wants_them(version: str, changes: dict[str, Any]) -> None:
    rendered = [*yaml.safe_load_all(manifest_text(service(**changes), LINES))]
    assert [item["kind"] for item in rendered] == KINDS
    for item in rendered:
        kubernetes_validate.validate(item, version, strict=True)


def test_the_schemas_would_see_a_wrong_object() -> None:
    wrong = objects(manifest_text(service(), LINES))["Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_pods_have_limits_probes_and_no_rights() -> None:
    deployment = objects(manifest_text(service(), LINES))["Deployment"]["spec"]
    pod = deployment["template"]["spec"]
    (scorer,) = pod["containers"]
    assert scorer["resources"] == {key: {"cpu": "500m", "memory": "2G"} for key in ("requests", "limits")}
    assert scorer["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}
    assert scorer["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http"}
    for container in (scorer, *pod["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert (pod["securityContext"]["runAsNonRoot"], pod["automountServiceAccountToken"]) == (True, False)
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_all_objects_mean_the_same_pods() -> None:
    known = objects(manifest_text(service(), LINES))
    labels = known["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        known["Deployment"]["spec"]["selector"]["matchLabels"],
        known["Service"]["spec"]["selector"],
        known["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        known["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() and selector == selectors[0] for selector in selectors)
    autoscaler = known["HorizontalPodAutoscaler"]["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (3, 6)
    assert autoscaler["scaleTargetRef"]["name"] == known["Deployment"]["metadata"]["name"]


def applied(fake: FakeProgram) -> list[dict[str, Any]]:
    """What was applied, call by call."""
    calls = fake.calls_with_content()
    return [objects(content) for words, content in calls if words == ["apply", "-f", "-"]]


def test_a_service_is_applied_and_waited_for(project: Path, fake: FakeProgram) -> None:
    keys = create_service(project, "demo", Wanted(image="forecast:1", target="k8s", replicas=2))[1]
    (_, content), (rollout, _) = fake.calls_with_content()
    assert rollout == ["rollout", "status", "deployment/demo", "--timeout=300s", "--namespace", "default"]
    assert not any(key in content for key in keys.values())
    secret = base64.b64decode(objects(content)["Secret"]["data"]["keys"]).decode()
    assert secret == find_service(project, "demo")[2].key_file.read_text()
    fake.answer(("get deployment", 0, '{"status": {"readyReplicas": 1, "replicas": 2}}'))
    assert list_services(project)[0].state == "1 of 2 ready"
    assert "port-forward service/demo 5001:80" in _usage(project)


def _usage(project: Path) -> str:
    return CliRunner().invoke(main, ["service", "usage", "realtime", "-i", "demo", "--project", str(project)]).output


def test_a_new_key_starts_the_pods_anew_and_the_other_stays(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="k8s"))
    (before,) = applied(fake)
    regenerate_key(project, "demo", "secondary")
    (after,) = applied(fake)
    lines = [base64.b64decode(known["Secret"]["data"]["keys"]).split() for known in (before, after)]
    assert (lines[0][0] == lines[1][0], lines[0][1] == lines[1][1]) == (True, False)
    marks = {
        known["Deployment"]["spec"]["template"]["metadata"]["annotations"]["loadcast/keys"] for known in (before, after)
    }
    assert len(marks) == 2


def test_a_new_key_that_does_not_arrive_leaves_both_as_they_were(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="k8s"))
    service, _, layout = find_service(project, "demo")
    before = layout.key_file.read_bytes()
    fake.answer(("apply", 1, "Unable to connect to the server"))
    with pytest.raises(EnvironmentNotReadyError, match="Unable to connect"):
        regenerate_key(project, "demo", "primary")
    assert layout.key_file.read_bytes() == before
    assert find_service(project, "demo")[0] == service


def test_scaling_sets_replicas_and_what_the_autoscaler_keeps(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="k8s", replicas=2, most_replicas=4))
    applied(fake)
    scale_service(project, "demo", 7)
    (known,) = applied(fake)
    autoscaler = known["HorizontalPodAutoscaler"]["spec"]
    assert autoscaler["minReplicas"] == autoscaler["maxReplicas"] == 7
    assert "replicas" not in known["Deployment"]["spec"]  # each update would take back what the autoscaler has added


def test_an_update_that_does_not_roll_out_is_taken_back(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="k8s"))
    applied(fake)
    write_image(project, write_manifest(project, version=2), version=2)
    fake.answer(("rollout status", 1, "error: timed out waiting for the condition"))
    with pytest.raises((ServiceError, EnvironmentNotReadyError), match="timed out"):
        update_service(project, "demo", Wanted(image="forecast:2"))
    images = [known["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] for known in applied(fake)]
    assert images == ["loadcast-forecast:2", "loadcast-forecast:1"]
    assert find_service(project, "demo")[0].image == "forecast:1"


def test_one_that_does_not_come_up_is_removed_from_the_cluster(project: Path, fake: FakeProgram) -> None:
    fake.answer(("rollout status", 1, "error: timed out waiting for the condition"))
    with pytest.raises(EnvironmentNotReadyError, match="kubectl rollout failed: error: timed out"):
        create_service(project, "demo", Wanted(image="forecast:1", target="k8s"))
    assert [words[0] for words in fake.calls()] == ["apply", "rollout", "delete"]
    assert list_services(project) == []


def test_deleting_removes_all_its_objects(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="k8s"))
    fake.calls()
    delete_service(project, "demo")
    ((words, content),) = fake.calls_with_content()
    assert words == ["delete", "--ignore-not-found", "--wait=true", "-f", "-"]
    assert [*objects(content)] == KINDS
    assert list_services(project) == []
