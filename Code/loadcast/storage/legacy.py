"""What scripts written for the public sample expect: its helper functions.

`info` is any dict to them, so what was written is read back as it is; artefacts/info.py has it typed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadcast.artefacts.document import DocumentError, decode
from loadcast.artefacts.public_sample import load_legacy_info
from loadcast.errors import ArtefactError, ConfigError, InputError, OutputError

if TYPE_CHECKING:
    from loadcast.storage.blob.container import Container


def attach_storage_container(spark: Any, account: str, key: str | None) -> None:
    """Let a running Spark session read and write the containers of an account by its own drivers.

    `account` is a storage account's name, its host or its blob endpoint; `key` refers to an account key, a SAS or a
    connection string, as env:NAME or file:PATH. What the session has been told already stays. Raises ConfigError.
    """
    from loadcast.storage.blob.hadoop import Abfs, Wasb

    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    container = _container(account, "$root", key)
    settings = Abfs().settings(container, hadoop.get)
    if container.access.kind == "key":  # WASB takes a SAS for one container only
        settings = (settings or {}) | (Wasb().settings(container, hadoop.get) or {})
    if settings is None:
        raise ConfigError(
            f"{account}: Spark's own drivers want a key or SAS. "
            "Give key as env:NAME or file:PATH; for others leave reading and writing to loadcast."
        )
    for name, value in settings.items():
        if not hadoop.get(name):
            hadoop.set(name, value)


def write_blob(info: dict[str, Any], filename: str, container: str, account: str, key: str | None) -> None:
    """Write `info` as JSON to the local file and to the blob of the same name; account and key as above.

    Raises ConfigError, or OutputError where it cannot be written.
    """
    try:
        data = (json.dumps(info, indent=2, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = "a number in it has thousands of digits" if "int_max_str" in str(error) else str(error)
        raise OutputError(f"info cannot be JSON: {reason}. Wanted dicts, lists, strings and numbers.") from error
    _write_file(filename, data)
    _container(account, container, key).put(Path(filename).as_posix(), data)


def read_blob(localFilename: str, blobName: str, container: str, account: str, key: str | None) -> dict[str, Any]:
    """Download a blob to the local file, and give the `info` in it, which is JSON or, from the public sample, a pickle.

    Raises ConfigError, InputError where there is no such blob, ArtefactError where it is no info.
    """
    source = _container(account, container, key)
    content = source.get(blobName)
    if content is None:
        raise InputError(f"There is no blob {source.root.at(blobName)}. Check its name.")
    data = content[0]
    _write_file(localFilename, data)
    if not data.lstrip().startswith(b"{"):
        return load_legacy_info(data)
    try:
        return decode(data)
    except DocumentError as error:
        raise ArtefactError(f"{source.root.at(blobName)} is damaged: {error}. Run ETL and training anew.") from error


def _container(account: str, container: str, key: str | None) -> Container:
    from loadcast.storage.blob.container import Container
    from loadcast.storage.blob.credentials import resolve_access
    from loadcast.storage.blob.location import parse_blob_url

    host = account if "." in account else f"{account}.blob.core.windows.net"
    endpoint = account.rstrip("/") if "://" in account else f"https://{host}"
    location, signature = parse_blob_url(f"{endpoint}/{container}")
    return Container(location, resolve_access(location, key, signature))


def _write_file(name: str, data: bytes) -> None:
    fresh = Path(f"{name}.part")
    try:
        fresh.write_bytes(data)
        os.replace(fresh, name)
    except (OSError, ValueError) as error:
        raise OutputError(f"Cannot write {name}: {getattr(error, 'strerror', None) or error}.") from error
