"""Hadoop's own drivers for Azure: addresses and settings for Spark.

Two of them enter an account at its blob endpoint, as we do: ABFS since Hadoop 3.4.2, WASB until Hadoop 3.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.staging import Hadoop

Known = Callable[[str], str | None]

#: The one emulator that WASB finds, and the address where it looks for it.
_EMULATOR_ACCOUNT, _EMULATOR_HOSTS = "devstoreaccount1", {"127.0.0.1:10000", "localhost:10000"}


class Driver(Protocol):
    """One of Hadoop's drivers; `needs` is a class that it has where it works, `since` the Hadoop that it works in."""

    @property
    def needs(self) -> str:
        """The class's name."""

    @property
    def since(self) -> tuple[int, ...]:
        """The first version of Hadoop: a driver of another version than the rest fails when it is used."""

    def address(self, location: BlobLocation) -> str:
        """The place for Spark's own reading and writing. Hadoop takes paths as they are, without percent-encoding."""

    def settings(self, container: Container, known: Known) -> dict[str, str] | None:
        """What Hadoop has to know to enter the container as we do; None where it has no way in.

        Without a key or a SAS it needs a way of its own: `known` gives the value of a setting that it has already.
        """


def find_driver(container: Container, hadoop: Hadoop) -> tuple[Driver, dict[str, str]] | None:
    """The driver with which that Hadoop enters the container, and its settings; None where it cannot."""
    for driver in (Abfs(), Wasb()):
        if hadoop.version >= driver.since and hadoop.has_class(driver.needs):
            settings = driver.settings(container, hadoop.setting)
            if settings is not None:
                return driver, settings
    return None


@dataclass(frozen=True)
class Abfs:
    """ABFS, asked to use the blob endpoint, where an account has no folders (hns)."""

    needs: str = "org.apache.hadoop.fs.azurebfs.services.AbfsBlobClient"
    since: tuple[int, ...] = (3, 4, 2)

    def address(self, location: BlobLocation) -> str:
        scheme = "abfss" if location.endpoint.startswith("https:") else "abfs"
        return f"{scheme}://{location.container}@{self._host(location)}/{location.path}"

    def settings(self, container: Container, known: Known) -> dict[str, str] | None:
        access, host, parts = container.access, self._host(container.root), urlsplit(container.root.endpoint)
        settings = {
            f"fs.azure.account.hns.enabled.{host}": "false",
            f"fs.azure.fns.account.service.type.{host}": "BLOB",
        }
        if parts.path.strip("/"):  # an emulator: asked in place of the host, with the account in the path
            settings[f"fs.azure.abfs.endpoint.{host}"] = parts.netloc
        if parts.scheme == "http":
            # These cannot be set for one account; Hadoop's other HTTP library does not start without TLS.
            settings |= {
                "fs.azure.always.use.https": "false",
                "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
            }
        if access.kind == "key":
            return settings | {
                # The account's own, where the cluster has other ways of entering all accounts.
                f"fs.azure.account.auth.type.{host}": "SharedKey",
                f"fs.azure.account.keyprovider.{host}": "org.apache.hadoop.fs.azurebfs.services.SimpleKeyProvider",
                f"fs.azure.account.key.{host}": access.secret,
            }
        if access.kind == "sas":
            return settings | {
                f"fs.azure.account.auth.type.{host}": "SAS",
                f"fs.azure.sas.fixed.token.{host}": access.secret,
            }
        own_way = _first(known, f"fs.azure.account.auth.type.{host}", "fs.azure.account.auth.type")
        return settings if own_way and access.kind == "chain" else None

    def _host(self, location: BlobLocation) -> str:
        """The account's host as ABFS wants it: it takes the account's name from a `dfs` host alone."""
        parts = urlsplit(location.endpoint)
        if parts.path.strip("/"):
            return f"{location.account}.dfs.core.windows.net"
        return parts.netloc.replace(".blob.", ".dfs.", 1)


@dataclass(frozen=True)
class Wasb:
    """WASB of older clusters; newer Hadoops have a class of its name that only says that it is gone."""

    needs: str = "org.apache.hadoop.fs.azure.AzureNativeFileSystemStore"
    since: tuple[int, ...] = (2, 7)

    def address(self, location: BlobLocation) -> str:
        parts = urlsplit(location.endpoint)
        host = location.account if parts.path.strip("/") else parts.netloc
        scheme = "wasbs" if parts.scheme == "https" else "wasb"
        return f"{scheme}://{location.container}@{host}/{location.path}"

    def settings(self, container: Container, known: Known) -> dict[str, str] | None:
        access, parts = container.access, urlsplit(container.root.endpoint)
        if parts.path.strip("/"):
            return self._emulator(container)
        if access.kind == "key":
            # A cluster's own provider would hand the key to its decrypting program, on a command line.
            provider = "org.apache.hadoop.fs.azure.SimpleKeyProvider"
            return {
                f"fs.azure.account.keyprovider.{parts.netloc}": provider,
                f"fs.azure.account.key.{parts.netloc}": access.secret,
            }
        if access.kind == "sas":
            return {f"fs.azure.sas.{container.root.container}.{parts.netloc}": access.secret}
        ways = (f"fs.azure.account.keyprovider.{parts.netloc}", f"fs.azure.account.key.{parts.netloc}")
        return {} if _first(known, *ways) and access.kind == "chain" else None

    def _emulator(self, container: Container) -> dict[str, str] | None:
        """WASB brings the emulator's published key, and finds it in one place alone."""
        is_emulator = urlsplit(container.root.endpoint).netloc in _EMULATOR_HOSTS
        if not is_emulator or container.root.account != _EMULATOR_ACCOUNT or container.access.kind != "key":
            return None
        return {"fs.azure.storage.emulator.account.name": _EMULATOR_ACCOUNT}


def _first(known: Known, *keys: str) -> str | None:
    return next(filter(None, map(known, keys)), None)
