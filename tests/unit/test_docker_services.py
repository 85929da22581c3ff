"""Images and services in containers, with a fake docker: which command lines it gets, and what follows its answers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadcast.cli.main import main
from loadcast.errors import ConfigError, EnvironmentNotReadyError, ServiceError
from loadcast.registry import docker as docker_target
from loadcast.registry.images import USER, create_image, dockerfile, write_context
from loadcast.registry.manifests import find_manifest
from loadcast.registry.services import Wanted, create_service, find_service, list_services, update_service
from loadcast.registry.settings import current_account
from managed import FakeProgram, on_path, write_image, write_manifest

SIZES = [("image inspect --format {{.Size}} loadcast-", 0, "380000000"), ("image inspect", 0, "100000000")]
RUNNING = ("inspect --format {{.State.Status}}", 0, "running 0")
NONE = ("container inspect", 1, "no such container")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    write_image(folder, write_manifest(folder))
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    """A fake docker, whose services are ready at once."""
    program = FakeProgram(tmp_path / "bin", "docker")
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin"))
    monkeypatch.setattr(docker_target, "wait_ready", lambda *words: None)
    program.answer(RUNNING, NONE)
    return program


def run(project: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--project", str(project)])


def test_the_same_manifest_gives_the_same_files(project: Path, tmp_path: Path) -> None:
    manifest, source = find_manifest(project, "forecast:1")
    contexts = [tmp_path / name for name in ("one", "two")]
    digests = {write_context(manifest, source, "debian", context) for context in contexts if not context.mkdir()}
    assert len(digests) == 1
    times, modes = (
        {getattr(path.stat(), field) for context in contexts for path in context.rglob("*")}
        for field in ("st_mtime", "st_mode")
    )
    assert (len(times), {stat.S_IMODE(mode) for mode in modes}) == (1, {0o644, 0o755})
    (tmp_path / "three").mkdir()
    assert write_context(manifest, source, "another", tmp_path / "three") not in digests


def test_the_dockerfile_installs_by_hash_and_runs_without_rights(project: Path) -> None:
    lines = dockerfile(find_manifest(project, "forecast:1")[0], "debian").splitlines()
    assert [line for line in lines if line.startswith("FROM")] == ["FROM debian AS build", "FROM debian"]
    assert sum("--require-hashes" in line and "--only-binary=:all:" in line for line in lines) == 1
    last = lines[lines.index("FROM debian") + 1 :]
    assert not [line for line in last if line.startswith("RUN")]
    assert f"USER {USER}:{USER}" in last
    assert [line for line in last if line.startswith("ENTRYPOINT")] == [
        'ENTRYPOINT ["/opt/loadcast/bin/python", "/opt/service/webservice.py", "--model", "/opt/model", '
        '"--host", "0.0.0.0"]'
    ]


def test_an_image_is_built_measured_and_pushed(project: Path, fake: FakeProgram) -> None:
    fake.answer(*SIZES)
    image = create_image(project, "forecast", "forecast:1", "debian", "registry.example:5000/team")
    build, *sizes, push = fake.calls()
    name = "registry.example:5000/team/forecast:2"
    assert build[:-1] == ["build", "--network", "host", "--tag", name]
    assert not os.path.exists(build[-1])
    assert [words[-1] for words in sizes] == [name, "debian"]
    assert push == ["push", name]
    assert (image.id, image.reference) == ("forecast:2", name)
    said = run(project, "image", "create", "-n", "other", "--manifest-id", "forecast:1").output
    assert "Id: other:1" in said
    assert "Size: 280 MB on top of python:3.13-slim-bookworm" in said


def test_a_build_that_fails_says_why_and_where(project: Path, fake: FakeProgram) -> None:
    fake.answer(("build", 1, "step one\nERROR: no hash for numpy"))
    with pytest.raises(EnvironmentNotReadyError, match="docker build failed: ERROR: no hash for numpy") as raised:
        create_image(project, "forecast", "forecast:1", "debian")
    log = current_account(project) / "images" / "forecast" / "2.log"
    assert str(log) in str(raised.value)
    assert "step one" in log.read_text()
    assert not log.with_suffix(".json").exists()
    for base in ("--privileged", "de bian", "x\nRUN y", ""):
        with pytest.raises(ConfigError, match="wanted a name such as"):
            create_image(project, "forecast", "forecast:1", base or " ")


def test_a_container_has_its_limits_and_no_rights(project: Path, fake: FakeProgram) -> None:
    wanted = Wanted(image="forecast:1", target="docker", cpu=0.5, memory="2G", port=5999)
    keys = create_service(project, "demo", wanted)[1]
    _, words = fake.calls()
    layout = find_service(project, "demo")[2]
    user = f"{USER}:{USER}" if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    assert words == [
        *("run", "--detach", "--name", "loadcast-service-demo", "--label", "loadcast.service=demo"),
        *("--cpus", "0.5", "--memory", "2000000000b"),
        *("--read-only", "--tmpfs", "/tmp:rw,noexec,nosuid,size=256m", "--cap-drop=ALL"),
        *("--security-opt", "no-new-privileges", "--user", user),
        *("--restart", "unless-stopped", "--stop-timeout", "40", "--publish", "127.0.0.1:5999:5999"),
        *("--mount", f"type=bind,source={layout.keys},target=/run/loadcast,readonly"),
        *("loadcast-forecast:1", "--port", "5999", "--workers", "2"),
        *("--name", "demo", "--key-file", "/run/loadcast/keys"),
    ]
    assert not any(key in " ".join(words) for key in keys.values())
    assert str(layout.key_file.stat().st_uid) == user.partition(":")[0]


def updated(project: Path) -> None:
    write_image(project, write_manifest(project, version=2), version=2)
    update_service(project, "demo", Wanted(image="forecast:2"))


def test_another_image_is_tried_before_the_port_changes_hands(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    fake.calls()
    fake.answer(RUNNING)
    updated(project)
    calls = [words for words in fake.calls() if "inspect" not in words]
    trial, *_, last = [words for words in calls if words[0] == "run"]
    assert trial[trial.index("--name") + 1] == "loadcast-service-demo-trial"
    assert trial[trial.index("--publish") + 1] != last[last.index("--publish") + 1] == "127.0.0.1:5999:5999"
    assert "loadcast-forecast:2" in last
    order = [" ".join(words[:1] + words[-2:]) for words in calls if words[0] in ("rename", "run")]
    assert order[1] == "rename loadcast-service-demo loadcast-service-demo-before"
    assert calls[-1] == ["rm", "--force", "loadcast-service-demo-before"]
    assert find_service(project, "demo")[0].image == "forecast:2"


def test_an_image_that_does_not_start_is_not_taken(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    fake.calls()
    fake.answer(RUNNING, ("run --detach --name loadcast-service-demo-trial", 125, "no such image"))
    with pytest.raises(EnvironmentNotReadyError, match="no such image"):
        updated(project)
    assert [words for words in fake.calls() if words[-1] == "loadcast-service-demo"] == []
    assert find_service(project, "demo")[0].image == "forecast:1"


def test_a_container_that_fails_in_the_place_itself_gives_way(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    fake.calls()
    fake.answer(RUNNING, ("run --detach --name loadcast-service-demo ", 125, "port is taken"))
    with pytest.raises(ServiceError, match="The service runs as before"):
        updated(project)
    back = [words for words in fake.calls() if words[0] in ("rename", "start")][1:]
    assert back == [
        ["rename", "loadcast-service-demo-before", "loadcast-service-demo"],
        ["start", "loadcast-service-demo"],
    ]
    assert find_service(project, "demo")[0].image == "forecast:1"


def test_scaling_a_container_is_refused_with_what_to_do(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    done = run(project, "service", "scale", "realtime", "-i", "demo", "-z", "3")
    assert (done.exit_code, "--workers 3" in done.stderr, "--target k8s" in done.stderr) == (2, True, True)


def test_a_container_that_cannot_start_leaves_nothing(project: Path, fake: FakeProgram) -> None:
    fake.answer(("run", 125, "denied"), NONE)
    with pytest.raises(EnvironmentNotReadyError, match="docker run failed: denied"):
        create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    assert list_services(project) == []


def test_a_container_of_somebody_else_is_left_alone(project: Path, fake: FakeProgram) -> None:
    fake.answer(("container inspect", 0, "[]"))
    with pytest.raises(ConfigError, match="There is a container loadcast-service-demo already"):
        create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    assert [words[:2] for words in fake.calls()] == [["container", "inspect"]]


def test_one_that_was_removed_is_put_back(project: Path, fake: FakeProgram) -> None:
    create_service(project, "demo", Wanted(image="forecast:1", target="docker", port=5999))
    fake.calls()
    updated(project)
    calls = fake.calls()
    assert [words[0] for words in calls if words[0] in ("run", "rename")] == ["run", "run"]


def test_without_docker_it_is_said_what_to_install(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(project, "service", "create", "realtime", "-n", "demo", "--image-id", "forecast:1", "--target", "docker")
    assert (done.exit_code, "docker: found none on the PATH. Install Docker or podman" in done.stderr) == (3, True)
