"""Schemes of addresses: those that are mistyped are told at once, with the nearest known one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import runs
from loadcast.errors import ConfigError, InputError
from loadcast.pipeline import etl, stats
from loadcast.pipeline.run import run_etl, run_stats
from loadcast.settings import Settings
from loadcast.storage.remote import check_scheme

SIGNATURE = "bm90LWEtc2lnbmF0dXJl"
MISTYPED = {
    "htps://acct.blob.core.windows.net/logs/*.csv": "https://",
    "htttps://acct.blob.core.windows.net/logs/*.csv": "https://",
    "HTPPS://acct.blob.core.windows.net/logs/*.csv": "https://",
    "https:/acct.blob.core.windows.net/logs/*.csv": "https://",
    "wasbs:/logs@acct.blob.core.windows.net/*.csv": "wasbs://",
    "wsab://logs@acct.blob.core.windows.net/*.csv": "wasb://",
    "wabs://logs@acct.blob.core.windows.net/*.csv": "wasbs://",
    "wasbss://logs@acct.blob.core.windows.net/*.csv": "wasbs://",
    "abfsss://logs@acct.dfs.core.windows.net/*.csv": "abfss://",
    "azure://logs/*.csv": "wasbs://",
    "datastor://logs/*.csv": "datastore://",
    "hdsf://namenode/logs/*.csv": "hdfs://",
    "hfds:/logs/*.csv": "hdfs://",
    "flie:///logs/*.csv": "file://",
}
RIGHT = [
    "logs/*.csv", "/logs/a:b/*.csv", "a:b.csv", "file:/logs/*.csv", "file:///logs/*.csv", "hdfs:/logs/*.csv",
    "hdfs://namenode:8020/logs/*.csv", "s3a://logs/*.csv", "gs://logs/*.csv", "viewfs:///logs", "HDFS://namenode/logs",
    "wasbs://logs@acct.blob.core.windows.net/*.csv", "HTTPS://acct.blob.core.windows.net/logs", "datastore://logs/a",
    "quobyte://volume/logs/*.csv",
]  # fmt: skip


@pytest.mark.parametrize("address", MISTYPED)
def test_a_mistyped_scheme_is_told_with_the_nearest(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_scheme(f"{address}?sv=2024-11-04&sig={SIGNATURE}", "dataFile")
    assert f"did you mean {MISTYPED[address]}?" in str(caught.value)
    assert str(caught.value).startswith("dataFile ")
    assert SIGNATURE not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", RIGHT)
def test_other_addresses_pass(address: str) -> None:
    check_scheme(address, "dataFile")


def test_a_scheme_that_spark_is_told_of_passes() -> None:
    with pytest.raises(ConfigError, match=r"set spark\.hadoop\.fs\.hdfs2\.impl with --conf"):
        check_scheme("hdfs2://namenode/logs", "dataFile")
    check_scheme("hdfs2://namenode/logs", "dataFile", {"spark.hadoop.fs.hdfs2.impl": "org.example.Files"})


@pytest.mark.parametrize("run", [run_etl, run_stats])
def test_a_mistyped_scheme_is_told_before_spark_starts(
    run: Callable[[Settings], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (etl, stats):
        monkeypatch.setattr(module, "create_session", lambda *_, **__: pytest.fail("Spark was started"))
    settings = runs.make_settings("wsab://logs@acct.blob.core.windows.net/*.csv", tmp_path / "output", 6, 1)
    with pytest.raises(ConfigError, match="did you mean wasb"):
        run(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_only_looks_like_a_url_is_a_path(tmp_path: Path) -> None:
    settings = runs.make_settings(tmp_path / "nothing:here.csv", tmp_path / "output", 6, 1)
    with pytest.raises(InputError, match="matches no file"):
        run_etl(settings)
