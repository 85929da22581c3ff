"""Runs in containers: data and configurations for them, commands on them, and how they are held against local ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import runs
from azurite import Azurite
from loadcast import paths, schema
from loadcast.settings import Settings
from loadcast.system.caches import cache_folder

ROOT = Path(__file__).resolve().parents[2]
PATTERN = "20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-6]/request.csv"
KEY_VARIABLE = "AZURE_STORAGE_KEY"
TABLES = (paths.FEATURES, paths.HOURLY, paths.DAILY, paths.REJECTED, paths.PREDICTIONS)
START_S = 60
_KERNELS = cache_folder() / "kernels"


def write_sample(folder: Path, **options: object) -> None:
    """Write session logs with `loadcast sample`; `options` such as rows=60_000 are the command's."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    _checked([sys.executable, "-m", "loadcast", "sample", str(folder), *words], os.environ)


def write_config(folder: Path, template: str, azurite: Azurite, data_file: str, **changes: Any) -> Path:
    """A configuration of Config/ with its placeholders filled, for containers on Azurite."""
    content = json.loads((ROOT / "Config" / template).read_text(encoding="utf-8"))
    content |= {
        "storageAccount": azurite.account,
        "storageEndpoint": azurite.endpoint,
        "dataFile": data_file,
        **changes,
    }
    place = folder / template
    place.write_text(json.dumps(content), encoding="utf-8")
    return place


def make_cache(folder: Path) -> Path:
    """An empty cache of a command's own, but for the compiled kernels: compiling them anew takes 20 s of a core."""
    folder.mkdir(parents=True)
    (folder / _KERNELS.name).symlink_to(_KERNELS)
    return folder


def command(script: str, *words: object) -> list[str]:
    """The command of an entry script in Code/."""
    return [sys.executable, str(ROOT / "Code" / script), *map(str, words)]


def run_command(script: str, *words: object, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run an entry script with `env` on top of the environment; it has to end well."""
    return _checked(command(script, *words), {**os.environ, **env})


def _checked(argv: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@contextmanager
def running_service(*words: object, env: Mapping[str, str], log: Path) -> Iterator[str]:
    """The scoring service in a process of its own, what it says in `log`; gives its address."""
    argv = command("webservice.py", *words, "--port", 0, "--workers", 1)
    with (
        log.open("w") as errors,
        subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            address = next((found[0] for line in process.stdout if (found := re.search(r"http://[\d.:]+", line))), None)
            assert address, log.read_text()
            yield address
        finally:
            process.terminate()


@dataclass(frozen=True)
class Place:
    """A run as found in a place, and the texts in it that stand for the place of its data."""

    run: runs.Run
    data_roots: tuple[str, ...]


def container_run(azurite: Azurite, container: str, settings: Settings, folder: Path) -> runs.Run:
    """The newest run that a container holds, brought to `folder` without loadcast's own code."""
    name = azurite.content(container, paths.CURRENT).decode().strip()
    azurite.download_folder(container, folder, f"{paths.RUNS}/{name}/")
    return run_in(settings, folder)


def run_in(settings: Settings, folder: Path) -> runs.Run:
    """The run whose artefacts are in a folder."""
    quality, metrics = (_json(folder / name) for name in (paths.QUALITY, paths.METRICS))
    return runs.Run(settings, folder, quality, metrics)


def differences(found: Place, wanted: Place) -> list[str]:
    """What of two runs differs, bit for bit, but for the place of their data and the checksums.

    Spark gives the files of each model other names; that they are whole is checked by whoever loads them.
    """
    has, should = ({path.name for path in place.run.folder.iterdir()} & {*paths.ARTEFACTS} for place in (found, wanted))
    different = [f"{name} is in one of them only" for name in has ^ should]
    for name in sorted({*TABLES} & has & should):
        different += [f"{name}: {column}" for column in runs.same_bits(_table(found, name), _table(wanted, name))]
    for name, contents in {
        paths.QUALITY: [_neutral(place.run.quality, place) for place in (found, wanted)],
        paths.METRICS: [_rounded(place.run.metrics) for place in (found, wanted)],
        paths.INFO: [_neutral({**place.run.info, "files": {}}, place) for place in (found, wanted)],
    }.items():
        different += [name] if contents[0] != contents[1] else []
    return different


def _table(place: Place, name: str) -> pa.Table:
    table = runs.table(place.run, name)
    if name != paths.REJECTED:
        return table
    files = table.column(schema.REJECTED_FILE)
    for root in place.data_roots:
        files = pc.replace_substring(files, root, "DATA")
    return table.set_column(table.column_names.index(schema.REJECTED_FILE), schema.REJECTED_FILE, files)


def _neutral(content: Any, place: Place) -> Any:
    text = json.dumps(content)
    for root in place.data_roots:
        text = text.replace(root, "DATA")
    return json.loads(text)


def _rounded(content: Any) -> Any:
    """The same with 12 digits: Spark adds up the scores of its tasks in the order in which they end."""
    return json.loads(json.dumps(content), parse_float=lambda text: float(f"{float(text):.12g}"))


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
