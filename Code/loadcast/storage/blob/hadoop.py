"""Hadoop's own driver for Azure, ABFS, on an account's blob endpoint: addresses and settings for Spark."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation

Known = Callable[[str], str | None]


def spark_address(location: BlobLocation) -> str:
    """The place for Spark's own reading and writing. Hadoop takes paths as they are, without percent-encoding."""
    scheme = "abfss" if location.endpoint.startswith("https:") else "abfs"
    return f"{scheme}://{location.container}@{_host(location)}/{location.path}"


def spark_settings(container: Container, known: Known) -> dict[str, str] | None:
    """What Hadoop has to know to enter the container as we do; None where it has no way in.

    Without a key or a SAS it needs a way of its own: `known` gives the value of a setting that it has already.
    For Hadoop the account has no folders (hns): so it is at a blob endpoint.
    """
    access, host, parts = container.access, _host(container.root), urlsplit(container.root.endpoint)
    settings = {f"fs.azure.account.hns.enabled.{host}": "false", f"fs.azure.fns.account.service.type.{host}": "BLOB"}
    if parts.path.strip("/"):  # an emulator: asked in place of the host, with the account in the path
        settings[f"fs.azure.abfs.endpoint.{host}"] = parts.netloc
    if parts.scheme == "http":
        # These cannot be set for one account; Hadoop's other HTTP library does not start without TLS.
        settings |= {
            "fs.azure.always.use.https": "false",
            "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
        }
    if access.kind == "key":
        return settings | {f"fs.azure.account.key.{host}": access.secret}
    if access.kind == "sas":
        return settings | {
            f"fs.azure.account.auth.type.{host}": "SAS",
            f"fs.azure.sas.fixed.token.{host}": access.secret,
        }
    own_way = known(f"fs.azure.account.auth.type.{host}") or known("fs.azure.account.auth.type")
    return settings if own_way and access.kind == "chain" else None


def _host(location: BlobLocation) -> str:
    """The account's host as ABFS wants it: it takes the account's name from a `dfs` host alone."""
    parts = urlsplit(location.endpoint)
    if parts.path.strip("/"):
        return f"{location.account}.dfs.core.windows.net"
    return parts.netloc.replace(".blob.", ".dfs.", 1)
