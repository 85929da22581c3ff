"""The sample month on YARN with its logs in HDFS: the same as on this machine alone. All else is in test_cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

import runs
from clusters import Cluster
from loadcast import paths
from months import Month, run_etl

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_logs_in_hdfs_give_what_local_files_give(yarn: Cluster, month: str, local_month: Month, tmp_path: Path) -> None:
    assert yarn.hdfs
    root = Path(month.partition("/*")[0])
    address = yarn.hdfs.upload(root, "/logs")
    found = run_etl(tmp_path / "hdfs", month.replace(str(root), address), yarn)
    for name in (paths.HOURLY, paths.DAILY, paths.FEATURES):
        assert runs.same_bits(runs.table(found, name), runs.table(local_month.whole, name)) == [], name
    for name in ("rows", "good", "blank", "rejectedByReason", "repairedByColumn"):
        assert found.quality[name] == local_month.whole.quality[name], name
    assert all(file["file"].startswith(address) for file in found.quality["files"])


def test_what_goes_to_hdfs_comes_back(yarn: Cluster, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_bytes(b"content")
    assert yarn.hdfs
    assert yarn.hdfs.upload(source, "/copied") == f"{yarn.hdfs.address}/copied"
    yarn.hdfs.download("/copied", target)
    assert (target / "below" / "file").read_bytes() == b"content"
