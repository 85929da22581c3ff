"""What Hadoop's driver for Azure is told; that it works is shown in tests/integration."""

from __future__ import annotations

import pytest

from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.hadoop import spark_address, spark_settings
from loadcast.storage.blob.location import BlobLocation

AZURE, EMULATOR = "https://acct.blob.core.windows.net", "http://127.0.0.1:10000/devstoreaccount1"


def settings_of(endpoint: str, access: Access, **known: str) -> dict[str, str] | None:
    return spark_settings(Container(BlobLocation(endpoint, "logs"), access), {**known}.get)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (AZURE, "abfss://logs@acct.dfs.core.windows.net/a b/ü"),
        ("https://acct.blob.core.chinacloudapi.cn", "abfss://logs@acct.dfs.core.chinacloudapi.cn/a b/ü"),
        (EMULATOR, "abfs://logs@devstoreaccount1.dfs.core.windows.net/a b/ü"),
    ],
)
def test_spark_gets_an_abfs_address_that_is_not_percent_encoded(endpoint: str, address: str) -> None:
    assert spark_address(BlobLocation(endpoint, "logs", "a b/ü")) == address


def test_key_and_sas_are_told_for_the_account_alone() -> None:
    host = "acct.dfs.core.windows.net"
    blob = {f"fs.azure.account.hns.enabled.{host}": "false", f"fs.azure.fns.account.service.type.{host}": "BLOB"}
    assert settings_of(AZURE, Access("key", "a2V5")) == {**blob, f"fs.azure.account.key.{host}": "a2V5"}
    sas = {f"fs.azure.account.auth.type.{host}": "SAS", f"fs.azure.sas.fixed.token.{host}": "sig=x"}
    assert settings_of(AZURE, Access("sas", "sig=x")) == {**blob, **sas}


def test_an_emulator_is_asked_in_place_of_the_host_and_without_tls() -> None:
    found = settings_of(EMULATOR, Access("key", "a2V5")) or {}
    assert found["fs.azure.abfs.endpoint.devstoreaccount1.dfs.core.windows.net"] == "127.0.0.1:10000"
    assert found["fs.azure.always.use.https"] == "false"


def test_a_credential_chain_needs_a_cluster_that_has_its_own() -> None:
    assert settings_of(AZURE, Access("chain")) is None
    assert settings_of(AZURE, Access("chain"), **{"fs.azure.account.auth.type": "OAuth"})
    assert settings_of(AZURE, Access("anonymous"), **{"fs.azure.account.auth.type": "OAuth"}) is None
