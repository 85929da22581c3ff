"""ETL killed at any moment, and started again: the same result, and nobody ever sees half of one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runs
from loadcast import paths
from loadcast.errors import ArtefactError
from loadcast.settings import load_settings
from loadcast.storage.publish import open_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TABLES = (paths.FEATURES, paths.HOURLY, paths.DAILY, paths.REJECTED)
MADE_BY_ETL = (*TABLES, paths.QUALITY, paths.INFO, *paths.BUNDLE_FOLDERS[:3])
KILLS = 10
#: After these the command is started again, as its user would; after the others its run is, in the tests' own session,
#: which takes a quarter of the time.
BY_COMMAND = (0, 5)
ROUNDS = range(KILLS)


def command(config: Path) -> list[str]:
    return [sys.executable, str(ROOT / "Code" / "etl.py"), str(config), "--master", "local[2]"]


def run(config: Path) -> None:
    done = subprocess.run(command(config), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    subprocess.run(
        [sys.executable, "-m", "loadcast", "sample", str(folder), "--rows", "300000"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "Code")},
    )
    return folder


def write_config(folder: Path, data: Path, **changes: Any) -> Path:
    config = folder / "config.json"
    content = {
        "dataFile": str(data / "*/*/*/*/request.csv"),
        "duration": "ONE_MONTH",
        "output": str(folder / "output"),
        "keepScanned": True,
    }
    config.write_text(json.dumps({**content, **changes}))
    return config


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[runs.Run, float]:
    """A run that nobody kills, and how long it took, in seconds."""
    config = write_config(tmp_path_factory.mktemp("undisturbed"), data)
    begin = time.monotonic()
    run(config)
    return published(config), time.monotonic() - begin


def published(config: Path) -> runs.Run:
    settings = load_settings(config)
    folder = open_run(Path(str(settings.output)))
    return runs.Run(settings, folder, json.loads((folder / paths.QUALITY).read_text()), {})


@contextmanager
def polled(output: Path) -> Iterator[list[str]]:
    """A reader that follows `current` over and over; gives the list of what it has seen that was not whole."""
    seen: list[str] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.005):
            try:
                folder = open_run(output)
            except ArtefactError:
                continue
            try:
                seen.extend(f"{folder} lacks {name}" for name in MADE_BY_ETL if not (folder / name).exists())
                quality, info = (json.loads((folder / name).read_text()) for name in (paths.QUALITY, paths.INFO))
                if quality["rows"] != 300_000 or "featureColumns" not in info:
                    seen.append(f"{folder} is of another input")
                if any(folder.rglob("_temporary")):
                    seen.append(f"{folder} has work in progress in it")
            except (OSError, ValueError) as error:
                if folder.exists():  # one that is older than the last two runs may go while it is read
                    seen.append(f"{folder}: {error!r}")

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        yield seen
    finally:
        stop.set()
        reader.join()


@pytest.mark.parametrize("number", ROUNDS)
def test_killed_at_any_moment_and_run_again_it_gives_the_same(
    number: int, data: Path, undisturbed: tuple[runs.Run, float], spark: SparkSession, tmp_path: Path
) -> None:
    wanted, seconds = undisturbed
    config = write_config(tmp_path, data)
    # A moment in each tenth of the run, so that together they meet every stage of it.
    moment = (number + random.Random(number).random()) / KILLS * seconds
    with polled(tmp_path / "output") as seen:
        process = subprocess.Popen(
            command(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(moment)
        if number % 2:  # the command alone: what it has started finds out by itself
            process.kill()
        else:  # all at once, as when a machine runs out of memory or power
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if number in BY_COMMAND:
            run(config)
        else:
            runs.etl(load_settings(config))
    assert seen == []
    found = published(config)
    for name in TABLES:
        assert runs.same_bits(runs.table(found, name), runs.table(wanted, name)) == []
    assert found.quality == wanted.quality
    assert found.info == wanted.info
    left = [
        path for path in (tmp_path / "output").rglob("*") if path.name.startswith(".staging") or path.suffix == ".tmp"
    ]
    assert left == []
