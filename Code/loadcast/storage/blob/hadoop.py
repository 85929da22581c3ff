"""Settings for Hadoop's own driver for Azure, ABFS, on an account's blob endpoint."""

from __future__ import annotations

from urllib.parse import urlsplit

from loadcast.storage.blob.container import Container


def spark_settings(container: Container) -> dict[str, str] | None:
    """What Hadoop has to know to enter the container as we do; None where its driver cannot, or already knows.

    Hadoop's driver wants the account in the host's name; without a key or a SAS, the cluster's own settings count.
    """
    parts = urlsplit(container.root.endpoint)
    if parts.path.strip("/") or container.access.kind not in ("key", "sas"):
        return None
    host = parts.netloc
    settings = {
        f"fs.azure.account.hns.enabled.{host}": "false",
        f"fs.azure.fns.account.service.type.{host}": "BLOB",
    }
    if container.access.kind == "key":
        return settings | {f"fs.azure.account.key.{host}": container.access.secret}
    return settings | {
        f"fs.azure.account.auth.type.{host}": "SAS",
        f"fs.azure.sas.fixed.token.{host}": container.access.secret,
    }
