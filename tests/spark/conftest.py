"""Runs that several tests look at: each is made once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import runs
import sessions

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS, TEST_DAYS = 50, 7


@pytest.fixture(scope="session")
def hostile_logs() -> runs.Logs:
    """50 days from the first of June on: eight servers, gaps, every kind of dirt, both layouts."""
    logs = {
        17: sessions.hostile_log(17, days=DAYS, rows=7000, dirty=0.05),
        16: sessions.hostile_log(16, days=DAYS, rows=2500, dirty=0.05, layout=16),
    }
    return runs.Logs({layout: [item for item in items if not _is_silenced(item)] for layout, items in logs.items()})


def _is_silenced(item: bytes) -> bool:
    """Whether a row is of the server that has none from the last evening of June to the first morning of July."""
    return sessions.SERVERS[2].encode() in item and re.search(rb"2016-(06-30 2|07-01 0)", item) is not None


@pytest.fixture(scope="session")
def hostile(spark: SparkSession, hostile_logs: runs.Logs, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """ETL and training on those logs, in eight files, under a data contract."""
    folder = tmp_path_factory.mktemp("hostile")
    pattern = hostile_logs.write(folder / "data", {17: 5, 16: 3}, seed=1, shuffle=False)
    changes = {"forest": {"numTrees": 30}, "contract": sessions.CONTRACT}
    settings = runs.make_settings(pattern, folder / "output", DAYS, TEST_DAYS, **changes)
    return runs.train(runs.etl(settings))
