"""The functions of a feature set, sent to a process that cannot import their module; Spark isn't started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import recipe
from grids import LABELS, RULE
from loadcast import feature_sets
from loadcast.kernels.features import FeatureSet
from loadcast.storage.table_files import FolderTables

server = pytest.importorskip("loadcast.spark.server_task")
portable = pytest.importorskip("loadcast.spark.portable")
cloudpickle = pytest.importorskip("pyspark.cloudpickle")

CODE = Path(__file__).resolve().parents[2] / "Code"
#: What a worker does with a task: it is there, and its features can be made.
WORKER = """
import pickle, sys
task = pickle.load(sys.stdin.buffer)
from loadcast.kernels.features.check import check_feature_set
check_feature_set(task.features)
print(*task.features.names)
"""


@pytest.fixture
def weekly_here() -> Iterator[FeatureSet]:
    """The recipe's set, of a module that is nowhere but in this process."""
    module = sys.modules["weekly_here"] = ModuleType("weekly_here")
    exec(recipe.read_recipe().source, module.__dict__)
    yield module.FEATURES
    feature_sets.unregister(module.FEATURES.name)
    if "weekly_here" in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["weekly_here"]


def in_a_worker(features: FeatureSet) -> subprocess.CompletedProcess[bytes]:
    portable.send_by_value(features)
    sent = cloudpickle.dumps(server.ServerTask(features, RULE, LABELS, 0, FolderTables("x")))
    environment = {**os.environ, "PYTHONPATH": str(CODE)}
    return subprocess.run([sys.executable, "-c", WORKER], input=sent, capture_output=True, env=environment)


def test_a_registered_set_travels_with_the_task(weekly_here: FeatureSet) -> None:
    feature_sets.register(weekly_here)
    done = in_a_worker(weekly_here)
    assert (done.stdout.split(), done.stderr) == ([name.encode() for name in weekly_here.names], b"")


def test_a_set_that_a_package_brings_is_looked_for_there(weekly_here: FeatureSet) -> None:
    done = in_a_worker(replace(weekly_here, name="of_a_package"))
    assert b"No module named 'weekly_here'" in done.stderr
