"""From an address in a configuration to a container in Azure Blob Storage and the right to use it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tasks, which import this, are to start at once
    from loadcast.settings import Settings
    from loadcast.storage.blob.container import Container

_REMOTE = re.compile(r"(?i)(wasbs?|abfss?|https?|datastore)://")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_DATASTORE = "datastore://"


def is_remote(address: str) -> bool:
    """Whether an address is a container's, or a datastore's."""
    return _REMOTE.match(address) is not None


def is_hadoop(address: str) -> bool:
    """Whether an address is of a file system that only Hadoop, behind Spark, may know, such as `hdfs:`."""
    return _SCHEME.match(address) is not None and not is_remote(address) and not address.lower().startswith("file:")


@dataclass(frozen=True)
class OwnAccount:
    """The account that a configuration is for: its name, its blob service, and where its key is to be found."""

    name: str
    endpoint: str
    key_reference: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> OwnAccount | None:
        """The configured account, if there is one."""
        name = settings.storage_account
        if not name:
            return None
        endpoint = settings.storage_endpoint or f"https://{name}.blob.core.windows.net"
        return cls(name, endpoint.lower(), settings.storage_key)


def container_at(address: str, own: OwnAccount | None) -> tuple[Container, str]:
    """The container of an address, and the path or pattern in it.

    The key of one's own account is used for that account alone. Raises ConfigError.
    """
    # Here, not above: local runs need not wait half a second for Azure's packages.
    from loadcast.storage.blob.access import resolve_access
    from loadcast.storage.blob.container import Container
    from loadcast.storage.blob.location import parse_blob_url
    from loadcast.storage.datastores import resolve_datastore

    reference = None
    if address.lower().startswith(_DATASTORE):
        address, reference = resolve_datastore(address)
    location, signature = parse_blob_url(address, {own.name: own.endpoint} if own else {})
    if reference is None and own and location.endpoint == own.endpoint:
        reference = own.key_reference
    root = location.at("")
    return Container(root, resolve_access(root, reference, signature)), location.path
