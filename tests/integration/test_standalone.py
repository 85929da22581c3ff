"""The sample month on Spark's own cluster, submitted to its master: the same as on this machine alone.

That whole ETL and training give the same there is in test_container_pipeline, and on YARN in test_yarn.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters import Cluster
from months import Month, run_differences, submit_filtered

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_script_submitted_to_a_spark_master_gives_what_local_mode_gives(
    standalone: Cluster, month: str, local_month: Month, tmp_path: Path
) -> None:
    submitted = submit_filtered(tmp_path, month, standalone)
    assert run_differences("filtered", submitted, local_month.filtered) == []
