"""The sample month on the Spark of older clusters: the same as on ours."""

from __future__ import annotations

from pathlib import Path

import pytest

import runs
from clusters import Cluster
from months import TABLES_TRAINED, Month, run_differences, run_whole, train_anew
from spark35 import spark35_packages

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_pyspark_3_5_gives_what_ours_gives(month: str, local_month: Month, tmp_path: Path) -> None:
    older = Cluster("local[2]", dict(runs.OPTIONS.extra), {"PYTHONPATH": str(spark35_packages())})
    found = run_whole(tmp_path / "whole", month, older)
    assert found.info["versions"]["pyspark"].startswith("3.5.")
    assert run_differences("whole", found, local_month.whole, TABLES_TRAINED) == ["whole info.versions"]

    # Splits at random, which Spark does not grow, are saved as its forests are.
    at_random = train_anew(tmp_path / "whole", older, randomSplits=True, minInstancesPerNode=5)
    assert at_random.info["forest"]["randomSplits"] is True
    assert at_random.info["versions"]["pyspark"].startswith("3.5.")
    assert at_random.metrics["test"]["accuracy"] > 0.9 * found.metrics["test"]["accuracy"]
