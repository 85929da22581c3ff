"""The whole way against containers on Azurite, as a user types it: the outputs equal those of the local folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runs
from azurite import Azurite
from container_runs import (
    KEY_VARIABLE,
    PATTERN,
    Place,
    container_run,
    differences,
    run_command,
    run_in,
    running_service,
    write_config,
    write_sample,
)
from loadcast import paths
from loadcast.settings import DEMO_SERVERS, Settings, load_settings
from secret_watch import SecretWatcher, watched_processes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DATA = "sessions"
FOREST = {"numTrees": 10, "maxDepth": 5}
MASTER = ("--master", "local[2]")
STATISTICS = "O16Npreprocessing.py"
CONFIGS = {"onemonthmodel": "storageconfig.json", "fullmodel": "fulldata_storageconfig.json"}
#: Commands for each container; each finds what the ones before have left. FILTER_IP is in test_virtual_machine.
STEPS = {
    "onemonthmodel": (("etl.py", "FALSE"), ("train.py",), (STATISTICS,)),
    "fullmodel": (("etl.py",), ("train.py",)),
}


@dataclass(frozen=True)
class Walk:
    """What one container's commands have made, step by step, beside what the same steps make of a local folder."""

    config: Path
    local_config: Path
    actual: list[Place]
    wanted: list[Place]
    environment: Mapping[str, str]


@pytest.fixture(scope="module")
def data(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty days of logs, half of them before the month that ONE_MONTH takes; in a folder and in a container."""
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder, start="2016-05-02", days=60, rows=60_000, servers=8)
    azurite.upload_folder(azurite.new_container(DATA), folder)
    return folder


@pytest.fixture(scope="module")
def watcher(azurite: Azurite) -> SecretWatcher:
    """Looks for the account's key."""
    return SecretWatcher({"key": azurite.key, "connection string": azurite.connection_string})


@pytest.fixture(scope="module", params=list(CONFIGS))
def walk(
    request: pytest.FixtureRequest,
    azurite: Azurite,
    data: Path,
    watcher: SecretWatcher,
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> Walk:
    container, folder = azurite.new_container(request.param), tmp_path_factory.mktemp(request.param)
    data_url = f"wasbs://{DATA}@{azurite.account}/{PATTERN}"
    config = write_config(folder, CONFIGS[container], azurite, data_url, forest=FOREST)
    local_config = folder / "local.json"
    settings = load_settings(config)
    content = {"duration": settings.duration, "dataFile": f"{data}/{PATTERN}", "output": f"{folder}/local"}
    local_config.write_text(json.dumps({**content, "forest": FOREST}))
    environment = {KEY_VARIABLE: azurite.key, "LOADCAST_CACHE": str(folder / "cache")}
    walk = Walk(config, local_config, [], [], environment)
    roots = (f"wasbs://{DATA}@{azurite.account}", f"{azurite.endpoint}/{DATA}")
    for number, step in enumerate(STEPS[container]):
        with watched_processes(watcher):
            done = run_command(step[0], config, *step[1:], *MASTER, "--spark-log", env=environment)
        watcher.add(f"{container}: {' '.join(step)}", done.stdout + done.stderr)
        walk.actual.append(Place(container_run(azurite, container, settings, folder / f"found-{number}"), roots))
        walk.wanted.append(Place(locally(step, load_settings(local_config), walk.wanted), (str(data),)))
    return walk


def locally(step: tuple[str, ...], settings: Settings, before: list[Place]) -> runs.Run:
    """The same step on local folders, in this process; its run, apart from the output, which keeps two only."""
    if step[0] == "train.py":
        run = runs.train(before[-1].run)
    elif step[0] == STATISTICS:
        run = runs.stats(settings)
    else:
        run = runs.etl(settings, "FILTER_IP" in step)
    copy = Path(f"{settings.output}-{len(before)}")
    shutil.copytree(run.folder, copy)
    return run_in(settings, copy)


def test_every_step_gives_what_it_gives_of_a_local_folder(walk: Walk) -> None:
    assert [differences(actual, wanted) for actual, wanted in zip(walk.actual, walk.wanted, strict=True)] == [
        [] for _ in walk.wanted
    ]
    assert differences(walk.actual[0], walk.wanted[-1]) != []  # steps differ
    assert walk.actual[-1].run.quality["rows"] == 60_000
    assert walk.actual[-1].run.quality["rejected"] > 0


def test_service_and_client_say_the_same_as_on_a_local_folder(
    walk: Walk, watcher: SecretWatcher, tmp_path: Path
) -> None:
    said = []
    for config in (walk.config, walk.local_config):
        log = tmp_path / f"{config.stem}.log"
        with (
            watched_processes(watcher),
            running_service("--model", config, "--access-log", env=walk.environment, log=log) as url,
        ):
            words = (config, "--url", url, "--format", "json", "--server", DEMO_SERVERS[0])
            done = run_command("scoring_webservice.py", *words, env=walk.environment)
        watcher.add("client", done.stdout + done.stderr)
        watcher.add("service", log.read_text())
        said.append(json.loads(done.stdout))
    assert said[0] == said[1]
    assert said[0]


def test_a_downloaded_model_is_the_one_in_the_container(walk: Walk, watcher: SecretWatcher, tmp_path: Path) -> None:
    with watched_processes(watcher):
        done = run_command("download_model.py", walk.config, tmp_path / "Model", env=walk.environment)
    watcher.add("download", done.stdout + done.stderr)
    downloaded = runs.file_bytes(tmp_path / "Model")
    published = runs.file_bytes(walk.actual[-1].run.folder)  # the last step has carried it, or made it
    assert downloaded.keys() == {name for name in published if name.split("/")[0] in paths.BUNDLE}
    assert downloaded == {name: published[name] for name in downloaded}


def test_the_container_holds_two_runs_and_nothing_half_made(walk: Walk, azurite: Azurite) -> None:
    container = str(load_settings(walk.config).storage_container)
    names = azurite.names(container)
    names_of_runs = {name.split("/")[1] for name in names if name.startswith(f"{paths.RUNS}/")}
    assert len(names_of_runs) <= 3  # the last two, and the last two with a model
    assert azurite.content(container, paths.CURRENT).decode().strip() == max(names_of_runs)
    assert [name for name in names if "_temporary" in name or paths.STAGING_PREFIX in name] == []


def test_the_key_is_nowhere(walk: Walk, watcher: SecretWatcher) -> None:
    assert any(b"etl.py" in line for line in watcher.command_lines)
    # Copies of the container's runs, the cache, and local outputs lie beside the configuration.
    assert watcher.found(walk.config.parent) == []
