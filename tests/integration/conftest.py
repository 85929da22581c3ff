"""What the integration tests share: the real parts they run against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artefacts import MINICLUSTER, MISSING
from azurite import azurite as azurite
from clusters import Cluster, standalone_cluster, yarn_cluster
from loadcast.experiments.locations import history_database
from months import Month, run_month_here, write_sample
from patience import few_attempts as few_attempts
from patience import no_pauses as no_pauses

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pattern of a generated month of session logs."""
    return write_sample(tmp_path_factory.mktemp("month"))


@pytest.fixture(scope="session")
def local_month(month: str, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Month:
    """What local mode makes of it."""
    return run_month_here(tmp_path_factory.mktemp("local"), month)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database of a project without runs or models: making one takes seconds."""
    from loadcast.experiments.history import sync

    project = tmp_path_factory.mktemp("template")
    sync(project)
    return history_database(project)


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Spark's own cluster: a master and two workers of one core."""
    with standalone_cluster(tmp_path_factory.mktemp("standalone")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """YARN with two node managers, and HDFS."""
    if not MINICLUSTER.jars:
        pytest.skip(f"Hadoop's minicluster {MISSING}")
    with yarn_cluster(tmp_path_factory.mktemp("yarn"), MINICLUSTER.jars) as cluster:
        yield cluster
