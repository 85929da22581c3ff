"""From an address in a configuration to a container in Azure Blob Storage and the right to use it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from loadcast.errors import ConfigError
from loadcast.secrets import without_secrets

if TYPE_CHECKING:  # tasks, which import this, are to start at once
    from loadcast.settings import Settings
    from loadcast.storage.blob.container import Container

_REMOTE_SCHEMES = ("https", "wasbs", "wasb", "abfss", "abfs", "http", "datastore")
_REMOTE = re.compile(rf"(?i)({'|'.join(_REMOTE_SCHEMES)})://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
#: Those that Hadoop has, or that vendors' file systems for it have.
_HADOOP_SCHEMES = (
    "file", "hdfs", "viewfs", "webhdfs", "swebhdfs", "har", "ftp", "sftp", "s3", "s3a", "s3n", "gs", "adl", "oss",
    "obs", "cos", "cosn", "tos", "o3fs", "ofs", "dbfs", "maprfs", "alluxio", "jfs", "swift",
)  # fmt: skip
#: What Azure's storage is called elsewhere.
_OTHER_NAMES = {"az": "wasbs", "azure": "wasbs", "blob": "wasbs"}
#: Where a secret may begin.
_QUERY = re.compile(r"\?(?=[A-Za-z-]+=)")
_SHOWN_CHARACTERS = 200
_DATASTORE = "datastore://"


def is_remote(address: str) -> bool:
    """Whether an address is a container's, or a datastore's."""
    return _REMOTE.match(address) is not None


def check_scheme(address: str, key: str, declared: Collection[str] = ()) -> None:
    """Raise ConfigError where an address begins with a scheme that is most likely mistyped, and name the nearest one.

    `key` is the configuration's. A scheme that `declared` (names of Spark settings) gives a file system to is none, and
    one that resembles no other may be known to the cluster.
    """
    match = _SCHEME.match(address)
    if match is None or is_remote(address):
        return
    scheme = match[1].lower()
    if scheme in _REMOTE_SCHEMES:  # it lacks a slash
        nearest, other = scheme, ""
    elif scheme in _HADOOP_SCHEMES or f"spark.hadoop.fs.{scheme}.impl" in declared:
        return
    else:
        close = get_close_matches(scheme, [*_REMOTE_SCHEMES, *_HADOOP_SCHEMES], 1, 0.7)
        nearest = _OTHER_NAMES.get(scheme) or "".join(close)
        other = f" If Spark does know {scheme}://, set spark.hadoop.fs.{scheme}.impl with --conf."
    if nearest:
        shown = without_secrets(_QUERY.split(address)[0])[:_SHOWN_CHARACTERS]
        raise ConfigError(
            f"{key} {shown!r} begins with {match[0]}; did you mean {nearest}://? Wanted a path, file:, wasb[s]://, "
            f"abfs[s]://, https://, datastore:// or a scheme of Hadoop's, such as hdfs://.{other}"
        )


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
    from loadcast.storage.blob.container import Container
    from loadcast.storage.blob.credentials import resolve_access
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
