"""The whole way against containers on Azurite, as a user types it: the outputs equal those of the local folder.

So do those of tasks and of Spark that write straight to a container.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runs
from artefacts import ABFS, MISSING, WASB, Artefacts
from azurite import Azurite
from clusters import Cluster
from container_runs import (
    KEY_VARIABLE,
    PATTERN,
    Place,
    container_run,
    differences,
    make_cache,
    run_command,
    run_in,
    running_service,
    write_config,
    write_sample,
)
from loadcast import paths
from loadcast.settings import DEMO_SERVERS, Settings, load_settings
from secret_watch import SecretWatcher, watched_processes
from spark35 import spark35_packages, wasb_emulator

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DATA = "sessions"
FOREST = {"numTrees": 10, "maxDepth": 5}
MASTER = ("--master", "local[2]")
PARTS = ("--conf=spark.sql.shuffle.partitions=2", "--conf=spark.default.parallelism=2")
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


@dataclass(frozen=True)
class Steps:
    """How many of the steps of `onemonthmodel` are run, and with what."""

    number: int
    options: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


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


@pytest.fixture(scope="module")
def walk_of(
    azurite: Azurite,
    data: Path,
    watcher: SecretWatcher,
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Walk]:
    """The walk of a container, made once."""
    return cache(lambda name: make_walk(azurite, name, data, watcher, tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="module", params=list(CONFIGS))
def walk(request: pytest.FixtureRequest, walk_of: Callable[[str], Walk]) -> Walk:
    return walk_of(request.param)


def make_walk(azurite: Azurite, name: str, data: Path, watcher: SecretWatcher, folder: Path) -> Walk:
    """Run the commands of a container, and the same steps on local folders."""
    container = azurite.new_container(name)
    data_url = f"wasbs://{DATA}@{azurite.account}/{PATTERN}"
    config = write_config(folder, CONFIGS[container], azurite, data_url, forest=FOREST)
    local_config = folder / "local.json"
    settings = load_settings(config)
    content = {"duration": settings.duration, "dataFile": f"{data}/{PATTERN}", "output": f"{folder}/local"}
    local_config.write_text(json.dumps({**content, "forest": FOREST}))
    environment = {KEY_VARIABLE: azurite.key, "LOADCAST_CACHE": str(make_cache(folder / "cache"))}
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


# --- tasks and Spark that write straight to the container, by Hadoop's drivers for Azure ------------------------------


def options_of(driver: Artefacts) -> tuple[str, ...]:
    if not driver.jars:
        pytest.skip(f"hadoop-azure {MISSING}")
    return tuple(f"--conf={key}={value}" for key, value in driver.settings.items())


def written_directly(azurite: Azurite, steps: Steps, data: Path, folder: Path, watcher: SecretWatcher) -> Place:
    """What the steps, run with Spark's options, have published in a container of their own."""
    container = azurite.new_container()
    data_file = f"{data}/{PATTERN}"
    config = write_config(
        folder, CONFIGS["onemonthmodel"], azurite, data_file, storageContainer=container, forest=FOREST
    )
    events = folder / "events"
    events.mkdir()
    logged = ("--conf=spark.eventLog.enabled=true", f"--conf=spark.eventLog.dir=file://{events}", "--spark-log")
    environment = {KEY_VARIABLE: azurite.key, "LOADCAST_CACHE": str(make_cache(folder / "cache")), **steps.environment}
    for script, *words in STEPS["onemonthmodel"][: steps.number]:
        with watched_processes(watcher):
            done = run_command(script, config, *words, *steps.options, *PARTS, *logged, env=environment)
        watcher.add(f"{folder.name} {script}", done.stdout + done.stderr)
    return Place(container_run(azurite, container, load_settings(config), folder / "found"), (str(data),))


def check_direct(direct: Place, staged: Place, different: tuple[str, ...] = ()) -> None:
    assert differences(direct, staged) == [*different]
    models = [direct.run.folder / name for name in paths.BUNDLE_FOLDERS]
    # Marks that Spark's own writers leave show who wrote the models.
    assert [model.name for model in models if model.exists() and not list(model.rglob("_SUCCESS"))] == []
    assert any(model.exists() for model in models)


def test_etl_writes_directly_what_it_stages(
    azurite: Azurite, data: Path, walk_of: Callable[[str], Walk], watcher: SecretWatcher, tmp_path: Path
) -> None:
    steps = Steps(1, (*MASTER, *options_of(ABFS)))
    direct = written_directly(azurite, steps, data, tmp_path, watcher)
    check_direct(direct, walk_of("onemonthmodel").actual[0])
    assert watcher.found(tmp_path) == []


def test_a_cluster_writes_directly_what_one_machine_stages(
    azurite: Azurite,
    data: Path,
    walk_of: Callable[[str], Walk],
    standalone: Cluster,
    watcher: SecretWatcher,
    tmp_path: Path,
) -> None:
    steps = Steps(2, (*standalone.options, *options_of(ABFS)))
    direct = written_directly(azurite, steps, data, tmp_path, watcher)
    check_direct(direct, walk_of("onemonthmodel").actual[1])
    assert watcher.found(tmp_path) == []


def test_an_older_cluster_s_spark_writes_directly_with_wasb(
    data: Path, walk_of: Callable[[str], Walk], watcher: SecretWatcher, tmp_path: Path
) -> None:
    steps = Steps(2, (*MASTER, *options_of(WASB)), {"PYTHONPATH": str(spark35_packages())})
    with wasb_emulator(tmp_path / "azurite.txt") as emulator:
        direct = written_directly(emulator, steps, data, tmp_path, watcher)
        # Folders have blobs of their own where WASB has made them.
        assert any(name.endswith(f"/{paths.FOREST_MODEL}/data") for name in emulator.names(emulator.containers()[0]))
    assert direct.run.info["versions"]["pyspark"].startswith("3.5.")
    check_direct(direct, walk_of("onemonthmodel").actual[1], (paths.INFO,))
    assert watcher.found(tmp_path) == []
