"""What Hadoop's drivers for Azure are told; that they work is shown in tests/integration."""

from __future__ import annotations

import pytest

from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.hadoop import Abfs, Wasb, find_driver
from loadcast.storage.blob.location import BlobLocation

AZURE, EMULATOR = "https://acct.blob.core.windows.net", "http://127.0.0.1:10000/devstoreaccount1"
CHINA = "https://acct.blob.core.chinacloudapi.cn"
KEY, SAS, CHAIN, ANONYMOUS = Access("key", "a2V5"), Access("sas", "sig=x"), Access("chain"), Access("anonymous")


class Hadoop:
    """A Hadoop with some classes and settings."""

    def __init__(self, *classes: str, version: tuple[int, ...] = (3, 5, 0), **settings: str) -> None:
        self._classes, self._settings = classes, settings
        self.version = version

    def setting(self, key: str) -> str | None:
        return self._settings.get(key)

    def has_class(self, name: str) -> bool:
        return name in self._classes


def container(endpoint: str, access: Access) -> Container:
    return Container(BlobLocation(endpoint, "logs"), access)


def abfs(endpoint: str, access: Access, **known: str) -> dict[str, str] | None:
    return Abfs().settings(container(endpoint, access), known.get)


def wasb(endpoint: str, access: Access, **known: str) -> dict[str, str] | None:
    return Wasb().settings(container(endpoint, access), known.get)


@pytest.mark.parametrize(
    ("endpoint", "by_abfs", "by_wasb"),
    [
        (AZURE, "abfss://logs@acct.dfs.core.windows.net", "wasbs://logs@acct.blob.core.windows.net"),
        (CHINA, "abfss://logs@acct.dfs.core.chinacloudapi.cn", "wasbs://logs@acct.blob.core.chinacloudapi.cn"),
        (EMULATOR, "abfs://logs@devstoreaccount1.dfs.core.windows.net", "wasb://logs@devstoreaccount1"),
    ],
)
def test_spark_gets_an_address_that_is_not_percent_encoded(endpoint: str, by_abfs: str, by_wasb: str) -> None:
    location = BlobLocation(endpoint, "logs", "a b/ü")
    assert Abfs().address(location) == f"{by_abfs}/a b/ü"
    assert Wasb().address(location) == f"{by_wasb}/a b/ü"


def test_abfs_is_told_key_and_sas_for_the_account_alone() -> None:
    host = "acct.dfs.core.windows.net"
    blob = {f"fs.azure.account.hns.enabled.{host}": "false", f"fs.azure.fns.account.service.type.{host}": "BLOB"}
    key = {
        f"fs.azure.account.auth.type.{host}": "SharedKey",
        f"fs.azure.account.keyprovider.{host}": "org.apache.hadoop.fs.azurebfs.services.SimpleKeyProvider",
        f"fs.azure.account.key.{host}": "a2V5",
    }
    assert abfs(AZURE, KEY) == {**blob, **key}
    sas = {f"fs.azure.account.auth.type.{host}": "SAS", f"fs.azure.sas.fixed.token.{host}": "sig=x"}
    assert abfs(AZURE, SAS) == {**blob, **sas}


def test_wasb_is_told_the_key_of_the_account_and_the_sas_of_the_container() -> None:
    host = "acct.blob.core.windows.net"
    provider = {f"fs.azure.account.keyprovider.{host}": "org.apache.hadoop.fs.azure.SimpleKeyProvider"}
    assert wasb(AZURE, KEY) == {**provider, f"fs.azure.account.key.{host}": "a2V5"}
    assert wasb(AZURE, SAS) == {"fs.azure.sas.logs.acct.blob.core.windows.net": "sig=x"}


def test_abfs_asks_an_emulator_in_place_of_the_host_and_without_tls() -> None:
    settings = abfs(EMULATOR, KEY) or {}
    assert settings["fs.azure.abfs.endpoint.devstoreaccount1.dfs.core.windows.net"] == "127.0.0.1:10000"
    assert settings["fs.azure.always.use.https"] == "false"


def test_wasb_knows_one_emulator_and_its_key() -> None:
    assert wasb(EMULATOR, KEY) == {"fs.azure.storage.emulator.account.name": "devstoreaccount1"}
    assert wasb(EMULATOR, SAS) is None
    assert wasb("http://127.0.0.1:10001/devstoreaccount1", KEY) is None
    assert wasb("http://127.0.0.1:10000/other", KEY) is None


def test_a_credential_chain_needs_a_cluster_that_has_its_own() -> None:
    assert abfs(AZURE, CHAIN) is None
    assert abfs(AZURE, CHAIN, **{"fs.azure.account.auth.type": "OAuth"})
    assert abfs(AZURE, ANONYMOUS, **{"fs.azure.account.auth.type": "OAuth"}) is None
    provider = {"fs.azure.account.keyprovider.acct.blob.core.windows.net": "org.example.Provider"}
    assert wasb(AZURE, CHAIN) is None
    assert wasb(AZURE, CHAIN, **provider) == {}
    assert wasb(AZURE, ANONYMOUS, **provider) is None


def test_the_driver_that_works_is_taken() -> None:
    azure = container(AZURE, KEY)
    new, old = Abfs().needs, Wasb().needs
    drivers = [find_driver(azure, Hadoop(*classes)) for classes in ([new, old], [new], [old], [])]
    assert [type(driver[0]) if driver else None for driver in drivers] == [Abfs, Abfs, Wasb, None]
    assert find_driver(azure, Hadoop(new, version=(3, 3, 4))) is None
    assert find_driver(azure, Hadoop(new, version=(3, 4, 2)))
    own_way = {"fs.azure.account.key.acct.blob.core.windows.net": "theirs"}
    driver = find_driver(container(AZURE, CHAIN), Hadoop(new, old, **own_way))
    assert driver is not None
    assert isinstance(driver[0], Wasb)
