"""Tasks and Spark that write straight to the container, by Hadoop's drivers for Azure: as through a staging folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from artefacts import ABFS, MISSING, WASB, Artefacts
from azurite import Azurite
from clusters import Cluster
from container_runs import KEY_VARIABLE, Place, container_run, differences, run_command, write_config
from loadcast import paths
from loadcast.settings import load_settings
from secret_watch import SecretWatcher, watched_processes
from spark35 import spark35_packages, wasb_emulator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LOCAL = ("--master=local[2]",)
STEPS = (("etl.py", "FALSE"), ("train.py",), ("O16Npreprocessing.py",))
PARTS = ("--conf=spark.sql.shuffle.partitions=2", "--conf=spark.default.parallelism=2")


@pytest.fixture(scope="module")
def watcher(azurite: Azurite) -> Iterator[SecretWatcher]:
    watcher = SecretWatcher({"key": azurite.key})
    with watched_processes(watcher):
        yield watcher


def walk(
    azurite: Azurite,
    data: str,
    folder: Path,
    options: tuple[str, ...],
    watcher: SecretWatcher,
    python_path: Path | None = None,
) -> Place:
    """ETL, training and statistics with Spark's options, into a container of their own; what is published there."""
    container = azurite.new_container()
    forest = {"numTrees": 10, "maxDepth": 5}
    config = write_config(folder, "storageconfig.json", azurite, data, storageContainer=container, forest=forest)
    events = folder / "events"
    events.mkdir()
    logged = ("--conf=spark.eventLog.enabled=true", f"--conf=spark.eventLog.dir=file://{events}", "--spark-log")
    environment = {KEY_VARIABLE: azurite.key, "LOADCAST_CACHE": str(folder / "cache")}
    if python_path:
        environment["PYTHONPATH"] = str(python_path)
    for script, *words in STEPS:
        done = run_command(script, config, *words, *options, *PARTS, *logged, env=environment)
        watcher.add(f"{folder.name} {script}", done.stdout + done.stderr)
    return Place(container_run(azurite, container, load_settings(config), folder / "found"), (data,))


@pytest.fixture(scope="module")
def staged(azurite: Azurite, month: str, tmp_path_factory: pytest.TempPathFactory, watcher: SecretWatcher) -> Place:
    return walk(azurite, month, tmp_path_factory.mktemp("staged"), LOCAL, watcher)


def options_of(driver: Artefacts) -> tuple[str, ...]:
    if not driver.jars:
        pytest.skip(f"hadoop-azure {MISSING}")
    return tuple(f"--conf={key}={value}" for key, value in driver.settings.items())


def check(actual: Place, folder: Path, staged: Place, watcher: SecretWatcher, different: tuple[str, ...] = ()) -> None:
    assert differences(actual, staged) == [*different]
    # Marks that Spark's own writers leave show who wrote the models.
    assert list((actual.run.folder / paths.FOREST_MODEL).rglob("_SUCCESS"))
    assert watcher.found(folder) == []


def test_writing_directly_gives_what_staging_gives(
    azurite: Azurite, month: str, staged: Place, watcher: SecretWatcher, tmp_path: Path
) -> None:
    direct = walk(azurite, month, tmp_path, (*LOCAL, *options_of(ABFS)), watcher)
    check(direct, tmp_path, staged, watcher)


def test_a_cluster_writes_directly_what_one_machine_stages(
    azurite: Azurite, month: str, staged: Place, standalone: Cluster, watcher: SecretWatcher, tmp_path: Path
) -> None:
    direct = walk(azurite, month, tmp_path, (*standalone.options, *options_of(ABFS)), watcher)
    check(direct, tmp_path, staged, watcher)


def test_an_older_cluster_s_spark_writes_directly_with_wasb(
    month: str, staged: Place, watcher: SecretWatcher, tmp_path: Path
) -> None:
    options = (*LOCAL, *options_of(WASB))
    with wasb_emulator(tmp_path / "azurite.txt") as emulator:
        direct = walk(emulator, month, tmp_path, options, watcher, spark35_packages())
        # Folders have blobs of their own where WASB has made them.
        assert any(name.endswith(f"/{paths.FOREST_MODEL}/data") for name in emulator.names(emulator.containers()[0]))
    assert direct.run.info["versions"]["pyspark"].startswith("3.5.")
    check(direct, tmp_path, staged, watcher, (paths.INFO,))
