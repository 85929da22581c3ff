"""The walk of a Data Science Virtual Machine, as its notes have it: ETL and training in a container of another machine.

The machine is reached by SSH and has files of its own; data and results lie in containers on Azurite.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azurite import Azurite
from container_runs import (
    KEY_VARIABLE,
    PATTERN,
    ROOT,
    Place,
    container_run,
    differences,
    run_command,
    run_in,
    write_config,
    write_sample,
)
from containers import BASE_IMAGE, make_docker, remove_docker, require_containers
from loadcast import paths
from loadcast.settings import load_settings
from ssh_host import SshHost, require_ssh_host, running_ssh_host

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DATA, CONTAINER = "sessions", "onemonthmodel"
FOREST = {"numTrees": 10, "maxDepth": 5}
STEPS = (("etl.py", "FILTER_IP"), ("etl.py", "FALSE"), ("train.py",))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    require_containers()
    require_ssh_host()
    programs = make_docker(tmp_path_factory.mktemp("docker"))
    with running_ssh_host(tmp_path_factory.mktemp("host"), programs) as running:
        yield running
    remove_docker(programs)


def test_its_commands_give_what_this_machine_gives(host: SshHost, azurite: Azurite, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_sample(data, start="2016-06-01", days=30, rows=60_000, servers=8)
    azurite.upload_folder(azurite.new_container(DATA), data)
    azurite.new_container(CONTAINER)
    project = tmp_path / "project"
    for folder in ("Code", "Config"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    # Its heap is for a larger machine than this.
    (project / "Config" / "dsvm_spark_dependencies.yml").unlink()
    data_url = f"wasbs://{DATA}@{azurite.account}/{PATTERN}"
    config = write_config(project / "Config", "storageconfig.json", azurite, data_url, forest=FOREST)
    subprocess.run(["git", "init", "-q", str(project)], check=True)

    def loadcast(*words: str) -> str:
        environment = {**os.environ, KEY_VARIABLE: azurite.key}
        argv = [sys.executable, "-m", "loadcast", *words]
        done = subprocess.run(argv, cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    loadcast(
        *("computetarget", "attach", "remotedocker", "--name", "dockerdsvm", "--address", host.address),
        *("--username", host.user, "--private-key-file", str(host.key_file), "--ssh-port", str(host.port)),
        *("--base-docker-image", BASE_IMAGE),
    )
    runconfig = project / "aml_config" / "dockerdsvm.runconfig"
    variables = f"EnvironmentVariables:\n  {KEY_VARIABLE}: env:{KEY_VARIABLE}"
    runconfig.write_text(runconfig.read_text().replace("EnvironmentVariables: null", variables))
    loadcast("experiment", "prepare", "-c", "dockerdsvm")
    submit = ("experiment", "submit", "-t", "dockerdsvm", "-c", "dockerdsvm")
    local = tmp_path / "local.json"
    settings = load_settings(config)
    content = {"duration": settings.duration, "dataFile": f"{data}/{PATTERN}", "output": str(tmp_path / "local")}
    local.write_text(json.dumps({**content, "forest": FOREST}))
    roots = (f"wasbs://{DATA}@{azurite.account}", f"{azurite.endpoint}/{DATA}")
    for number, (script, *arguments) in enumerate(STEPS):
        loadcast(*submit, f"./Code/{script}", "./Config/storageconfig.json", *arguments)
        found = container_run(azurite, CONTAINER, settings, tmp_path / f"found-{number}")
        run_command(script, local, *arguments, env={})
        wanted = run_in(load_settings(local), (tmp_path / "local" / paths.CURRENT).resolve())
        different = differences(Place(found, roots), Place(wanted, (str(data),)))
        # The image's Python may be another 3.11 than this one.
        assert [name for name in different if name != paths.INFO] == []
    said = loadcast("experiment", "list")
    assert said.count("completed") == len(STEPS)
    kept = [path for root in (project, host.home) for path in root.rglob("*") if path.is_file()]
    assert not [path for path in kept if azurite.key.encode() in path.read_bytes()]
