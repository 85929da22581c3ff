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

import runs
from azurite import Azurite
from container_runs import KEY_VARIABLE, ROOT, Place, container_run, differences, run_in, write_config
from containers import BASE_IMAGE, STORE, make_docker, require_containers
from hosts import Host, running_hosts
from loadcast import paths
from loadcast.settings import load_settings
from months import Month

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DATA, CONTAINER = "sessions", "onemonthmodel"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    require_containers()
    programs = make_docker(tmp_path_factory.mktemp("docker"))
    shared, folder = [programs.parent, STORE], tmp_path_factory.mktemp("hosts")
    # In the network of this machine: the environment's packages come from where pip has them from.
    with running_hosts(folder, ["dsvm"], programs=programs, shared=shared, network=False) as running:
        yield running["dsvm"]


def test_its_commands_give_what_this_machine_gives(
    host: Host, azurite: Azurite, month: str, local_month: Month, tmp_path: Path
) -> None:
    data, _, pattern = month.partition("/*")
    azurite.upload_folder(azurite.new_container(DATA), Path(data))
    azurite.new_container(CONTAINER)
    project = tmp_path / "project"
    for folder in ("Code", "Config"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    # As many parts as the runs that these are held against have.
    dependencies = {"configuration": runs.OPTIONS.extra}
    (project / "Config" / "dsvm_spark_dependencies.yml").write_text(json.dumps(dependencies))
    forest = local_month.whole.settings.forest.model_dump(by_alias=True)
    data_url = f"wasbs://{DATA}@{azurite.account}/*{pattern}"
    config = write_config(project / "Config", "storageconfig.json", azurite, data_url, forest=forest)
    subprocess.run(["git", "init", "-q", str(project)], check=True)

    def loadcast(*words: str) -> str:
        environment = {**os.environ, KEY_VARIABLE: azurite.key}
        argv = [sys.executable, "-m", "loadcast", *words]
        done = subprocess.run(argv, cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def same(wanted: runs.Run, number: int) -> list[str]:
        """What differs between the container's newest run and one of this machine."""
        found = container_run(azurite, CONTAINER, load_settings(config), tmp_path / f"found-{number}")
        roots = (f"wasbs://{DATA}@{azurite.account}", f"{azurite.endpoint}/{DATA}")
        here = run_in(wanted.settings, wanted.folder)  # with all digits
        different = differences(Place(found, roots), Place(here, (data,)))
        return [name for name in different if name != paths.INFO]  # the image may have another Python 3.11

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
    loadcast(*submit, "./Code/etl.py", "./Config/storageconfig.json", "FILTER_IP")
    assert same(local_month.filtered, 0) == []
    loadcast(*submit, "./Code/etl.py", "./Config/storageconfig.json", "FALSE")
    loadcast(*submit, "./Code/train.py", "./Config/storageconfig.json")
    assert same(local_month.whole, 1) == []
    assert loadcast("experiment", "list").count("completed") == 3
    kept = [path for root in (project, host.home) for path in root.rglob("*") if path.is_file()]
    assert not [path for path in kept if azurite.key.encode() in path.read_bytes()]
