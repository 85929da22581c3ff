"""The sample month on YARN: the same as on this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.clusters import Cluster
from integration.months import Month, differences, run_month

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_yarn_gives_what_local_mode_gives(yarn: Cluster, month: str, local_month: Month, tmp_path: Path) -> None:
    # Plain paths of the configuration mean this machine's folders, though Hadoop's own plain paths are in HDFS.
    assert differences(run_month(tmp_path, month, yarn), local_month) == []


def test_what_goes_to_hdfs_comes_back(yarn: Cluster, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_bytes(b"content")
    assert yarn.hdfs
    assert yarn.hdfs.upload(source, "/copied") == f"{yarn.hdfs.address}/copied"
    yarn.hdfs.download("/copied", target)
    assert (target / "below" / "file").read_bytes() == b"content"
