"""The walk of a Data Science Virtual Machine, as its notes have it: ETL and training in a container of another machine.

The machine is reached by SSH and has files of its own; data and results lie in containers on Azurite.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import runs
from azurite import Azurite
from containers import BASE_IMAGE, STORE, make_docker, require_containers
from hosts import Host, running_hosts
from months import Month
from walk import Walk

pytestmark = [pytest.mark.integration, pytest.mark.slow]


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
    walk = Walk(tmp_path, azurite, month, local_month, "storageconfig.json")
    walk.set_spark("dsvm_spark_dependencies.yml", runs.OPTIONS.extra)  # as many parts as the runs it is held against
    walk.attach("remotedocker", "dockerdsvm", host, "--base-docker-image", BASE_IMAGE)
    walk.loadcast("experiment", "prepare", "-c", "dockerdsvm")
    submit = ("experiment", "submit", "-t", "dockerdsvm", "-c", "dockerdsvm")
    walk.loadcast(*submit, "./Code/etl.py", "./Config/storageconfig.json", "FILTER_IP")
    assert walk.differences(local_month.filtered) == []
    walk.loadcast(*submit, "./Code/etl.py", "./Config/storageconfig.json", "FALSE")
    walk.loadcast(*submit, "./Code/train.py", "./Config/storageconfig.json")
    assert walk.differences(local_month.whole) == []
    assert walk.loadcast("experiment", "list").count("completed") == 3
    assert walk.files_with_key(host) == []
