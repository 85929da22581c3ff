"""The walk of an HDInsight cluster, as its notes have it: a head node by SSH, the driver and its executors on YARN."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from azurite import Azurite
from clusters import Cluster
from contract import wait_until
from head_node import running_head_node
from hosts import Host
from months import Month
from walk import Walk

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STUBBORN = """
import signal, time
from loadcast.spark.session import create_session

def kernels(numbers):
    from loadcast.kernels.sweep import compiled_sweep
    found = compiled_sweep().stats
    yield sum(found.cache_hits.values()), sum(found.cache_misses.values())

executors = create_session("stubborn").sparkContext.parallelize(range(2), 2)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready and compiled anew:", executors.mapPartitions(kernels).collect(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def head(yarn: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running_head_node(tmp_path_factory.mktemp("head"), yarn) as running:
        yield running


@pytest.fixture(scope="module")
def walk(
    yarn: Cluster,
    head: Host,
    azurite: Azurite,
    month: str,
    local_month: Month,
    tmp_path_factory: pytest.TempPathFactory,
) -> Walk:
    made = Walk(tmp_path_factory.mktemp("walk"), azurite, month, local_month, "fulldata_storageconfig.json")
    made.set_spark("hdi_spark_dependencies.yml", yarn.settings)
    made.attach("cluster", "myhdi", head)
    return made


def metrics(walk: Walk, run: str) -> dict[str, float]:
    """The numbers that a run has logged, the last of each name."""
    lines = (walk.project / ".loadcast" / "runs" / run / "logged.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    return {line["name"]: line["value"][-1] for line in logged if line["kind"] == "metric"}


def submit(walk: Walk, *words: str) -> str:
    """Submit a script without waiting; gives the run's id."""
    said = walk.loadcast("experiment", "submit", "-a", "-t", "myhdi", "-c", "myhdi", *words)
    named = re.search(r"Run (\S+) runs on myhdi", said)
    assert named, said
    return named[1]


def test_its_commands_give_what_this_machine_gives(walk: Walk, head: Host, local_month: Month) -> None:
    walk.loadcast("experiment", "prepare", "-c", "myhdi")
    config = "Config/fulldata_storageconfig.json"
    etl = submit(walk, "./Code/etl.py", config, "FALSE")
    walk.loadcast("experiment", "wait", etl)
    train = submit(walk, "./Code/train.py", config)
    walk.loadcast("experiment", "wait", train)
    assert walk.differences(local_month.whole) == []
    assert walk.loadcast("experiment", "list").count("completed") == 2
    assert walk.files_with_key(head) == []
    first, second = metrics(walk, etl), metrics(walk, train)
    # The environment went there when it was prepared, the kernels with the first run; the second needs nothing more.
    assert first["files/cluster/compiled"] > 0
    assert first["bytes/cluster/shipped"] > 0
    assert (second["files/cluster/compiled"], second["bytes/cluster/shipped"]) == (0, 0)
    for run in (etl, train):
        said = (walk.project / ".loadcast" / "runs" / run / "logs" / "spark-submit.log").read_text()
        assert "application_" in said
    assert second["seconds/cluster/kernels"] < first["seconds/cluster/kernels"] / 10


def test_executors_compile_nothing_and_a_cancelled_run_leaves_no_application(walk: Walk, head: Host) -> None:
    (walk.project / "Code" / "stubborn.py").write_text(STUBBORN)
    run = submit(walk, "Code/stubborn.py")
    said = ""

    def begun() -> bool:
        nonlocal said
        said = walk.loadcast("experiment", "logs", run)
        return "anew" in said

    wait_until(begun)
    assert "ready and compiled anew: [(1, 0), (1, 0)]" in said
    alive = ["yarn", "application", "-list", "-appTags", f"loadcast-{run}".lower()]
    assert "application_" in head.run(alive).stdout
    assert "cancelled" in walk.loadcast("experiment", "cancel", run)
    assert "application_" not in head.run(alive).stdout
    assert walk.files_with_key(head) == []
