"""The sample month on Spark's own cluster: the same as on this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters import Cluster
from months import Month, differences, run_month

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_standalone_cluster_gives_what_local_mode_gives(
    standalone: Cluster, month: str, local_month: Month, tmp_path: Path
) -> None:
    assert differences(run_month(tmp_path, month, standalone), local_month) == []
