"""Spark's settings: pure functions, Spark isn't started."""

from __future__ import annotations

import pytest

session = pytest.importorskip("loadcast.spark.session")


def test_only_local_masters_get_our_memory_and_address() -> None:
    assert session.default_settings("local[2]")["spark.driver.memory"] == "2g"
    assert "spark.driver.memory" not in session.default_settings("yarn")
    assert "spark.driver.host" not in session.default_settings("spark://host:7077")


@pytest.mark.parametrize(("master", "partitions"), [("local", "2"), ("local[3]", "6"), ("local[4,2]", "8")])
def test_shuffle_partitions_follow_the_cores(master: str, partitions: str) -> None:
    assert session.default_settings(master)["spark.sql.shuffle.partitions"] == partitions


def test_only_a_brief_local_run_goes_without_the_optimizing_compiler() -> None:
    assert "TieredStopAtLevel" in session.java_options("local[2]", True, False)
    assert "TieredStopAtLevel" not in session.java_options("local[2]", False, False)
    assert "TieredStopAtLevel" not in session.java_options("yarn", True, False)


def test_the_log_stays_quiet_unless_asked_for() -> None:
    assert "log4j2" in session.java_options("yarn", False, False)
    assert "log4j2" not in session.java_options("yarn", False, True)
