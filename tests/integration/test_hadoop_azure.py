"""Hadoop's own drivers for Azure against Azurite: ABFS on the blob endpoint, and WASB on clusters' older Spark."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

import spark_roundtrip
from artefacts import ABFS, MISSING, WASB, Artefacts, hadoop_version
from azurite import Azurite
from clusters import LOOPBACK
from loadcast.spark.java import find_java
from spark35 import spark35_python, wasb_emulator
from spark_roundtrip import ROWS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FOLDER = "made/by-spark.parquet"


def roundtrip(python: Path, artefacts: Artefacts, url: str, hadoop: dict[str, str]) -> dict[str, Any]:
    """What spark_roundtrip.py says, run with a Python and a driver."""
    if not artefacts.jars:
        pytest.skip(f"{', '.join(artefacts.packages)} {MISSING}")
    spark = {**artefacts.settings, "spark.driver.host": LOOPBACK, "spark.sql.shuffle.partitions": "2"}
    # Ours, without what helps the tests' own Spark: another Python has another Spark.
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYSPARK_", "SPARK_"))}
    done = subprocess.run(
        [str(python), spark_roundtrip.__file__],
        input=json.dumps({"spark": spark, "hadoop": hadoop, "url": url}),
        env={**plain, "JAVA_HOME": str(find_java()), "SPARK_LOCAL_IP": LOOPBACK},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check(answer: dict[str, Any], server: Azurite, container: str) -> None:
    """What Spark has read, and what our own client finds in the container."""
    assert answer["found"] == [
        ROWS,
        ROWS * (ROWS - 1) // 2,
        ROWS,
    ]
    files = [name for name in server.names(container, f"{FOLDER}/") if name.endswith(".parquet")]
    assert len(files) == 2
    tables = [pq.read_table(io.BytesIO(server.content(container, name))) for name in files]
    assert sorted(row for table in tables for row in table.column("id").to_pylist()) == list(range(ROWS))


def abfs_settings(server: Azurite, access: dict[str, str]) -> tuple[str, dict[str, str]]:
    """An account's host as ABFS knows it, and the settings that lead it to Azurite; `access` is by the host, too.

    ABFS takes an account's name from a host in `dfs.core.windows.net` alone. An endpoint set for it, here an address of
    this machine, is asked in its place, with the account in the path.
    """
    host = f"{server.account}.dfs.core.windows.net"
    return host, {
        f"fs.azure.abfs.endpoint.{host}": urlsplit(server.endpoint).netloc,
        f"fs.azure.fns.account.service.type.{host}": "BLOB",
        f"fs.azure.account.hns.enabled.{host}": "false",
        # Without TLS. These two cannot be set for one account; the other HTTP library does not start without TLS.
        "fs.azure.always.use.https": "false",
        "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
        **{f"{key}.{host}": value for key, value in access.items()},
    }


@pytest.mark.skipif(hadoop_version() < "3.5", reason="this PySpark's Hadoop has no ABFS on the blob endpoint")
@pytest.mark.parametrize("kind", ["key", "sas"])
def test_our_spark_reads_and_writes_a_container_with_abfs(azurite: Azurite, kind: str) -> None:
    container = azurite.new_container()
    if kind == "key":
        access = {"fs.azure.account.key": azurite.key}
    else:
        signature = azurite.sas(container, "racwdl")
        access = {"fs.azure.account.auth.type": "SAS", "fs.azure.sas.fixed.token": signature}
    host, settings = abfs_settings(azurite, access)
    answer = roundtrip(Path(sys.executable), ABFS, f"abfs://{container}@{host}/{FOLDER}", settings)
    assert answer["hadoop"] == hadoop_version()
    assert answer["fileSystem"] == "org.apache.hadoop.fs.azurebfs.AzureBlobFileSystem"
    check(answer, azurite, container)


def test_pyspark_3_5_reads_and_writes_a_container_with_wasb(tmp_path: Path) -> None:
    with wasb_emulator(tmp_path / "log") as server:
        container = server.new_container()
        emulator = {"fs.azure.storage.emulator.account.name": server.account}
        answer = roundtrip(spark35_python(), WASB, f"wasb://{container}@{server.account}/{FOLDER}", emulator)
        assert answer["spark"].startswith("3.5.")
        assert answer["fileSystem"] == "org.apache.hadoop.fs.azure.NativeAzureFileSystem"
        check(answer, server, container)
