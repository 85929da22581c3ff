"""The sample month through the whole commands, in processes of their own, on a cluster or on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import runs
from clusters import Cluster
from loadcast import paths
from loadcast.settings import load_settings
from loadcast.storage.publish import open_run

CODE = Path(__file__).resolve().parents[2] / "Code"
ROWS = 40_000
#: Made by the commands, and compared to the last bit.
TABLES = (paths.HOURLY, paths.DAILY, paths.FEATURES, paths.REJECTED)
TABLES_TRAINED = (*TABLES, paths.PREDICTIONS)


@dataclass(frozen=True)
class Month:
    """What the commands made of the month: ETL with FILTER_IP, and ETL of all servers with training."""

    filtered: runs.Run
    whole: runs.Run


def write_sample(folder: Path) -> str:
    """Generate the sample month; gives the pattern that finds its files."""
    _call([sys.executable, "-m", "loadcast", "sample", str(folder), "--rows", str(ROWS)], {"PYTHONPATH": str(CODE)})
    return str(folder / "*/*/*/*/request.csv")


def run_month_here(folder: Path, data: str) -> Month:
    """Run ETL, and ETL with training, in this process, in the session that runs in it, on two local cores."""
    filtered, whole = (_write_config(folder / name, data) for name in ("filtered", "whole"))
    runs.etl(load_settings(filtered), filter_ip=True)
    runs.train(runs.etl(load_settings(whole)))
    return Month(_published(filtered), _published(whole))


def run_whole(folder: Path, data: str, cluster: Cluster) -> runs.Run:
    """Run ETL of all servers and training, with their outputs below `folder`, on the cluster."""
    config = _write_config(folder, data)
    _run(cluster, "etl.py", str(config), "FALSE")
    _run(cluster, "train.py", str(config))
    return _published(config)


def train_anew(folder: Path, cluster: Cluster, **forest: object) -> runs.Run:
    """Train on what run_whole left below `folder`, with other settings of the forest."""
    config = folder / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "forest": {**content["forest"], **forest}}))
    _run(cluster, "train.py", str(config))
    return _published(config)


def submit_filtered(folder: Path, data: str, cluster: Cluster) -> runs.Run:
    """Submit ETL with FILTER_IP to the cluster's Spark master, from a project that is made below `folder`."""
    project, config = folder / "project", _write_config(folder / "filtered", data)
    shutil.copytree(CODE, project / "Code", ignore=shutil.ignore_patterns("__pycache__"))
    loadcast = [sys.executable, "-m", "loadcast"]
    _call([*loadcast, "computetarget", "attach", "spark", "--name", "master", "--master", cluster.master], {}, project)
    settings = project / "settings.yml"
    settings.write_text(json.dumps({"configuration": cluster.settings}))
    runconfig = {"Target": "master", "SparkDependenciesFile": settings.name, "PrepareEnvironment": False}
    (project / "aml_config" / "master.runconfig").write_text(json.dumps(runconfig))
    submit = ["experiment", "submit", "-c", "master", "Code/etl.py", str(config), "FILTER_IP"]
    _call([*loadcast, *submit], cluster.environment, project)
    return _published(config)


def run_etl(folder: Path, data: str, cluster: Cluster) -> runs.Run:
    """Run ETL of all servers alone."""
    config = _write_config(folder, data)
    _run(cluster, "etl.py", str(config), "FALSE")
    return _published(config)


def _run(cluster: Cluster, script: str, *arguments: str) -> None:
    _call([sys.executable, str(CODE / script), *arguments, *cluster.options], cluster.environment)


def _call(argv: Sequence[str], environment: dict[str, str], folder: Path | None = None) -> None:
    variables = {**_plain_environment(), **environment}
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr


def _plain_environment() -> dict[str, str]:
    """Ours, without what helps the tests' own Spark to find the code."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "PYSPARK_", "SPARK_"))}


def _write_config(folder: Path, data: str) -> Path:
    folder.mkdir(parents=True)
    config = folder / "config.json"
    content = {
        "dataFile": data,
        "duration": "ONE_MONTH",
        "output": str(folder / "output"),
        "forest": {"numTrees": 10, "maxDepth": 6},
    }
    config.write_text(json.dumps(content))
    return config


def _published(config: Path) -> runs.Run:
    settings = load_settings(config)
    folder = open_run(config.parent / "output")
    quality, metrics = (_read_json(folder / name) for name in (paths.QUALITY, paths.METRICS))
    return runs.Run(settings, folder, quality, metrics)


def _read_json(path: Path) -> dict[str, object]:
    # Spark adds up the log loss in the order in which its tasks end: the last digits are not to be compared.
    return json.loads(path.read_text(encoding="utf-8"), parse_float=_twelve_digits) if path.exists() else {}


def _twelve_digits(number: str) -> float:
    return float(f"{float(number):.12g}")


def run_differences(kind: str, one: runs.Run, other: runs.Run, tables: Sequence[str] = TABLES) -> list[str]:
    """Names of what differs between two runs, after `kind`."""
    names = []
    for name in tables:
        names += [
            f"{kind} {name}.{column}" for column in runs.same_bits(runs.table(one, name), runs.table(other, name))
        ]
    names += [f"{kind} quality.{key}" for key in _unequal(one.quality, other.quality)]
    names += [f"{kind} metrics.{key}" for key in _unequal(one.metrics, other.metrics)]
    names += [f"{kind} info.{key}" for key in _unequal(_lasting(one.info), _lasting(other.info))]
    names += [f"{kind} {name}" for name in _unequal(_bundle(one.folder), _bundle(other.folder))]
    return names


def _unequal(found: dict[str, object], wanted: dict[str, object]) -> list[str]:
    return sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))


def _lasting(info: dict[str, object]) -> dict[str, object]:
    """`info` without the checksums: the models' own metadata have times and random names in them."""
    return {key: value for key, value in info.items() if key != "files"}


def _bundle(folder: Path) -> dict[str, object]:
    """The numbers of files in each folder of models: one that was written elsewhere would lack some."""
    return {name: len([*(folder / name).rglob("part-*")]) for name in paths.BUNDLE_FOLDERS}
