"""The documented walk-through, line by line, with a real image, a real container, and a process of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bundles
import old_run
from containers import BASE_IMAGE, Docker, require_containers, running_docker
from doc_shell import DocShell, block_after
from loadcast.experiments.locations import history_database
from loadcast.registry.images import find_image
from loadcast.registry.services import find_service, list_services
from loadcast.registry.settings import DEFAULT_BASE_IMAGE
from loadcast.serving.predictor import Predictor
from managed import on_path

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
MOST_MB = 300
_LOOK = """
import importlib.util, os, sys
sys.path.insert(0, "/opt/loadcast")
found = [name for name in ("pandas", "pyspark", "py4j", "mlflow", "pip") if importlib.util.find_spec(name)]
for path in ("/opt/loadcast/x", "/opt/model/x", "/run/loadcast/x", "/tmp/x"):
    try:
        open(path, "w").close()
        found.append(path)
    except OSError:
        pass
print(os.getuid(), *found)
"""


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    require_containers()
    with running_docker(tmp_path_factory.mktemp("docker")) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, template: Path, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone, as far as the walk-through uses it; its configuration names a run that is there."""
    folder = tmp_path / "clone"
    for part in ("Code/webservice.py", "Config/conda_dependencies_webservice.yml"):
        (folder / part).parent.mkdir(parents=True)
        shutil.copy(ROOT / part, folder / part)
    shutil.copytree(ROOT / "Model", folder / "Model")
    (folder / "Config" / "demo.json").write_text(json.dumps(old_run.copied(tmp_path / "run").document()))
    history_database(folder).parent.mkdir(parents=True)
    shutil.copy(template, history_database(folder))
    monkeypatch.setenv("PATH", on_path(docker.programs))
    monkeypatch.delenv("LOADCAST_SERVICE_KEY", raising=False)
    monkeypatch.setenv("BUILDAH_LAYERS", "false")  # one build needs no cache, which takes podman seconds
    subprocess.run(["docker", "tag", BASE_IMAGE, DEFAULT_BASE_IMAGE], check=True)
    return folder


def ask(url: str, key: str, records: list[dict[str, Any]]) -> Any:
    """The answer of a service, or its status where it refuses."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/score", json.dumps(records).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_walk_through_leads_to_services_that_answer(
    project: Path, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = DocShell(project, monkeypatch.chdir, monkeypatch.setenv)
    said = {line: shell.run(line) for line in block_after(ROOT / "Docs" / "OPERATIONALIZE.md", "walk-through")}
    (forecast,) = (text for line, text in said.items() if line.startswith("loadcast score"))
    assert "low" in forecast or "medium" in forecast or "high" in forecast

    records = bundles.records(bundles.random_features(48))
    predictor = Predictor.load(ROOT / "Model")
    wanted = json.loads(json.dumps(predictor.predict(predictor.contract.read_records(records))))
    key, service = os.environ["LOADCAST_SERVICE_KEY"], find_service(project, "demo")[0]
    assert ask(service.url, key, records) == wanted
    assert ask(service.url, "another", records) == 401
    # The local service has keys of its own: a new one counts within some seconds, without a restart.
    local_key = shell.run("loadcast service keys realtime -i demolocal --regenerate secondary -o value").strip()
    local, deadline_s = find_service(project, "demolocal")[0], time.monotonic() + 30
    while (answer := ask(local.url, local_key, records)) == 401 and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert answer == wanted
    assert ask(local.url, key, records) == 401

    image = find_image(project, shell.variables["imageID"])
    assert (image.size_bytes - image.base_size_bytes) / 1e6 <= MOST_MB
    look = ["docker", "exec", "loadcast-service-demo", "/opt/loadcast/bin/python", "-c", _LOOK]
    assert subprocess.run(look, capture_output=True, text=True, check=True).stdout.split() == ["10001", "/tmp/x"]
    assert [(listed.name, listed.state) for listed in list_services(project)] == [
        ("demo", "ready"),
        ("demolocal", "ready"),
    ]

    for known in (service, local):
        shell.run(f"loadcast service delete realtime -i {known.name}")
        with pytest.raises(urllib.error.URLError):
            ask(known.url, key, records)
    assert docker.names() == []
