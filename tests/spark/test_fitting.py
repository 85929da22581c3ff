"""The rows that a model is fitted on."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from loadcast import schema
from loadcast.spark import fitting

pytestmark = pytest.mark.spark

_SPLIT = datetime(2016, 6, 2)


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> str:
    """Four rows, of which one lies in the test period and one was not observed."""
    rows = spark.sql(
        f"SELECT TIMESTAMP_NTZ'2016-06-01 00:00:00' + make_dt_interval(0, 12 * id) AS {schema.HOUR}, id <> 1 AS "
        f"{schema.OBSERVED}, 2 AS {schema.LABEL}, CAST(id AS DOUBLE) AS x, id * 2D AS y FROM range(3) "
        f"UNION ALL SELECT TIMESTAMP_NTZ'2016-06-01 05:00:00', true, 3, 7D, 8D"
    )
    rows.coalesce(1).write.parquet(str(tmp_path / "table"))
    return str(tmp_path / "table")


def test_they_are_the_observed_ones_before_the_split(spark: SparkSession, table: str) -> None:
    rows = fitting.training_rows(spark, table, ["x", "y"], _SPLIT)
    taken = [(row[schema.LABEL], row[fitting.FEATURES].toArray().tolist()) for row in rows.collect()]
    assert taken == [(2.0, [0.0, 0.0]), (3.0, [7.0, 8.0])]
    assert fitting.number_of_features(rows) == 2


def test_one_machine_reads_them_once(spark: SparkSession, table: str) -> None:
    rows = fitting.training_rows(spark, table, ["x", "y"], _SPLIT)
    shutil.rmtree(table)
    assert rows.count() == 2


def test_a_cluster_reads_them_again_as_an_executor_may_be_lost(
    spark: SparkSession, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "is_local", lambda master: False)
    rows = fitting.training_rows(spark, table, ["x", "y"], _SPLIT)
    assert "FileScan parquet" in rows._jdf.queryExecution().toString()
