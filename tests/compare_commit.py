"""Whether this tree's outputs equal those of another commit, bit for bit: a program.

    python tests/compare_commit.py COMMIT [--place folder|azurite] [--rows 200000] [--etl-only]

The sample month goes through ETL, of all servers and with FILTER_IP, and training, by this tree and by a checkout of
COMMIT. Tables are compared bit for bit, model folders by what they hold (Spark names their parts and stages anew each
time), `info` but for checksums and fields that COMMIT does not have. It ends with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).with_name("support")))

import azurite
import container_runs
import runs
from commits import ROOT, unpack_commit
from container_runs import KEY_VARIABLE, PATTERN
from loadcast import paths
from loadcast.settings import load_settings

#: What Spark makes anew each time it saves a model.
_FLEETING = ("timestamp",)
_UID = re.compile(r"([A-Za-z]+)_[0-9a-f]{12}(?![0-9a-f])")
FILTERS = ("FALSE", "FILTER_IP")


@dataclass(frozen=True)
class Tree:
    """A checkout, whose entry scripts are run with this environment's Python."""

    name: str
    root: Path

    def run(self, script: str, *words: str) -> None:
        """Run an entry script; raises SystemExit with what it said where it fails."""
        argv = [sys.executable, str(self.root / "Code" / script), *words]
        environment = {**os.environ, "PYTHONPATH": str(self.root / "Code")}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=self.root)
        if done.returncode:
            raise SystemExit(f"{self.name}: {script} {' '.join(words)} failed:\n{done.stdout}{done.stderr}")


@dataclass(frozen=True)
class Place:
    """Where the data lies, and the settings that name a fresh output there."""

    name: str
    data: str
    output: Callable[[str], dict[str, str]]


def in_folder(folder: Path) -> Place:
    """Folders of this machine."""
    return Place("folder", str(folder / "data" / PATTERN), lambda name: {"output": str(folder / name)})


@contextmanager
def in_azurite(folder: Path) -> Iterator[Place]:
    """Containers of an Azurite that runs meanwhile."""
    with azurite.running_azurite(folder / "azurite.log") as server:
        os.environ[KEY_VARIABLE] = server.key
        server.upload_folder(server.new_container("sessions"), folder / "data")
        account = {
            "storageAccount": server.account,
            "storageEndpoint": server.endpoint,
            "storageKey": f"env:{KEY_VARIABLE}",
        }
        data = f"wasbs://sessions@{server.account}/{PATTERN}"
        yield Place("azurite", data, lambda name: {**account, "storageContainer": server.new_container(name)})


def run_at(tree: Tree, config: Path, filter_ip: str, train: bool) -> runs.Run:
    """The run that a tree's commands publish."""
    tree.run("etl.py", str(config), filter_ip)
    if train:
        tree.run("train.py", str(config))
    settings = load_settings(config)
    folder = runs.published(settings)
    quality, metrics = (
        json.loads(path.read_text(encoding="utf-8")) if (path := folder / name).exists() else {}
        for name in (paths.QUALITY, paths.METRICS)
    )
    return runs.Run(settings, folder, quality, metrics)


def compare(found: runs.Run, wanted: runs.Run) -> list[str]:
    """What of two runs on the same data differs."""
    placed = (container_runs.Place(run, ()) for run in (found, wanted))
    different = [name for name in container_runs.differences(*placed) if name != paths.INFO]
    info = found.info | {"files": wanted.info["files"]}
    different += [f"{paths.INFO}: {key}" for key, value in wanted.info.items() if info.get(key) != value]
    for name in paths.BUNDLE_FOLDERS:
        different += [name] if _saved(found.folder / name) != _saved(wanted.folder / name) else []
    return different


def _saved(folder: Path) -> list[Any]:
    """What a saved model holds, whatever its files and stages are called."""
    lines = [line for path in _files(folder, "metadata") for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for path in _files(folder, "data") for row in pq.ParquetFile(path).read().to_pylist()]
    return [*(_settled(json.loads(_UID.sub(r"\1", line))) for line in lines), *sorted(rows, key=repr)]


def _files(folder: Path, kind: str) -> list[Path]:
    found = (path for path in folder.rglob("part-*") if path.parent.name == kind)
    return sorted(found, key=lambda path: (len(path.parts), path.parent.parent.name.partition("_")[0], path.name))


def _settled(content: Any) -> Any:
    if isinstance(content, dict):
        settled = {key: _settled(value) for key, value in content.items() if key not in _FLEETING}
        if isinstance(defaults := settled.get("defaultParamMap"), dict):
            defaults.pop("seed", None)  # Python's hash of the class's name; the seed that was used is set
        return settled
    return content


def compare_at(place: Place, trees: Sequence[Tree], folder: Path, train: bool) -> bool:
    """Whether all outputs in a place are the same; says what is not."""
    same = True
    for filter_ip in FILTERS:
        made = []
        for number, tree in enumerate(trees):
            name = f"{place.name}-{filter_ip.lower().replace('_', '-')}-{number}"
            content = {"dataFile": place.data, "duration": "ONE_MONTH", **place.output(name)}
            config = folder / f"{name}.json"
            config.write_text(json.dumps(content), encoding="utf-8")
            made.append(run_at(tree, config, filter_ip, train))
        different = compare(*made)
        print(f"{place.name}, {filter_ip}: {', '.join(different) or 'the same'}", flush=True)
        same &= not different
    return same


def main() -> int:
    """Compare; 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--place", choices=["folder", "azurite"], default="folder")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--etl-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compare-") as name, ExitStack() as stack:
        folder = Path(name)
        trees = (Tree("this tree", ROOT), Tree(options.commit, unpack_commit(options.commit, folder / "commit")))
        container_runs.write_sample(folder / "data", rows=options.rows)
        place = in_folder(folder) if options.place == "folder" else stack.enter_context(in_azurite(folder))
        return 0 if compare_at(place, trees, folder, not options.etl_only) else 1


if __name__ == "__main__":
    sys.exit(main())
