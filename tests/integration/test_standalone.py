"""The sample month on Spark's own cluster: the same as on this machine alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from clusters import Cluster
from months import Month, differences, run_month, submit_filtered

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_standalone_cluster_gives_what_local_mode_gives_submitted_or_not(
    standalone: Cluster, month: str, local_month: Month, tmp_path: Path
) -> None:
    submit = partial(submit_filtered, tmp_path / "project", standalone)
    assert differences(run_month(tmp_path, month, standalone, submit), local_month) == []
