"""A cluster whose machines do not see the folder of the results is told so before anything is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from loadcast.errors import OutputError
from loadcast.spark.azure import connect
from loadcast.storage.staging import FolderStaging

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def on_a_cluster(spark: SparkSession) -> Any:
    """The session, as one whose workers are elsewhere."""
    context = spark.sparkContext
    known = ("_jvm", "_jsc", "defaultParallelism", "parallelize")
    return SimpleNamespace(
        sparkContext=SimpleNamespace(master="yarn", **{name: getattr(context, name) for name in known})
    )


def test_a_folder_that_workers_do_not_see_ends_the_run(spark: SparkSession, tmp_path: Path) -> None:
    connect(on_a_cluster(spark), FolderStaging(tmp_path))
    with pytest.raises(OutputError, match="not all of the cluster's machines have it"):
        connect(on_a_cluster(spark), FolderStaging(tmp_path / "elsewhere"))


def test_one_machine_is_not_asked(spark: SparkSession, tmp_path: Path) -> None:
    connect(spark, FolderStaging(tmp_path / "elsewhere"))
