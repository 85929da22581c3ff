"""The sample month on the Spark of older clusters: the same as on ours."""

from __future__ import annotations

from pathlib import Path

import pytest

import runs
from clusters import Cluster
from months import Month, differences, run_month
from spark35 import spark35_packages

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_pyspark_3_5_gives_what_ours_gives(month: str, local_month: Month, tmp_path: Path) -> None:
    older = Cluster("local[2]", dict(runs.OPTIONS.extra), {"PYTHONPATH": str(spark35_packages())})
    found = run_month(tmp_path, month, older)
    assert found.whole.info["versions"]["pyspark"].startswith("3.5.")
    assert differences(found, local_month) == ["filtered info.versions", "whole info.versions"]
