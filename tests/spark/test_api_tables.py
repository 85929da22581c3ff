"""Tables that are made in this process, without Spark, are those of ETL, bit for bit; so are an opened run's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import loadcast
import runs
from loadcast import paths
from loadcast.sample import SampleSpec, write_sample
from loadcast.settings import DEMO_SERVERS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

MADE_HERE = {paths.HOURLY: loadcast.hourly, paths.DAILY: loadcast.daily, paths.FEATURES: loadcast.features}
OF_A_RUN: dict[str, Callable[[loadcast.Run], pa.Table]] = {
    paths.HOURLY: loadcast.Run.hourly,
    paths.DAILY: loadcast.Run.daily,
    paths.FEATURES: loadcast.Run.features,
    paths.PREDICTIONS: loadcast.Run.predictions,
}


@dataclass(frozen=True)
class Made:
    """A run of ETL, and which servers it was filtered by."""

    run: runs.Run
    servers: tuple[str, ...] | None = None


@pytest.fixture(scope="module")
def sample_month(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """FILTER_IP on the sample month."""
    folder = tmp_path_factory.mktemp("month")
    write_sample(SampleSpec(rows=20_000), folder / "data", jobs=1)
    settings = runs.make_settings(folder / "data/*/*/[ab]/[0-6]/request.csv", folder / "output", 30, 2)
    return Made(runs.etl(settings, filter_ip=True), DEMO_SERVERS)


@pytest.fixture(params=["hostile", "sample_month"])
def made(request: pytest.FixtureRequest) -> Made:
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, Made) else Made(found)


@pytest.mark.parametrize("name", MADE_HERE)
def test_tables_made_here_are_those_of_etl(made: Made, name: str) -> None:
    wanted = runs.table(made.run, name)
    hours = loadcast.hourly(loadcast.scan(made.run.settings, servers=made.servers))
    found = loadcast.features(hours, made.run.settings) if name == paths.FEATURES else None
    if found is None:
        found = loadcast.daily(hours) if name == paths.DAILY else hours
    assert runs.same_bits(found, _columns(wanted, found)) == []
    if made.servers is None:
        assert runs.same_bits(MADE_HERE[name](made.run.settings), found) == []


@pytest.mark.parametrize("name", OF_A_RUN)
def test_tables_of_an_opened_run_are_its_files(hostile: runs.Run, name: str) -> None:
    run = loadcast.open_run(hostile.settings)
    assert runs.same_bits(OF_A_RUN[name](run), runs.table(hostile, name).replace_schema_metadata(None)) == []
    assert (run.quality.document(), run.metrics.document()) == (hostile.quality, hostile.metrics)


def _columns(table: pa.Table, like: pa.Table) -> pa.Table:
    """The columns of another table; ETL adds more when it encodes, and says where nulls cannot be."""
    return table.select(like.column_names).replace_schema_metadata(None).cast(like.schema)
