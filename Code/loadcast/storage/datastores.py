"""Datastores: names for containers, with a reference to the key of each, so that no configuration needs to repeat them.

They are kept in a JSON file of the working folder, `aml_config/datastores.json` ($LOADCAST_DATASTORES names another):
names, URLs and references (`env:NAME`, `file:PATH`), never a secret.

    {"datastores": {"logs": {"url": "https://account.blob.core.windows.net/data", "key": "env:LOGS_KEY"}}}
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from loadcast.errors import ConfigError, OutputError
from loadcast.secrets import is_reference, shown
from loadcast.storage.blob.location import parse_blob_url
from loadcast.system.small_files import read_small_file, replace_file

FILE_VARIABLE = "LOADCAST_DATASTORES"
_DEFAULT_FILE = Path("aml_config", "datastores.json")
_MAX_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_ADDRESS = re.compile(r"(?i)datastore://([^/]*)/?(.*)", re.DOTALL)
#: As in the URLs of blobs: a `?` with anything else behind it is a sign of a pattern.
_QUERY = re.compile(r"\?[A-Za-z-]+=")
_SHOWN_CHARACTERS = 100


class Datastore(BaseModel):
    """A place in a container: its URL without a secret, and where its key is to be had (None: no reference)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str
    key: str | None = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    datastores: dict[str, Datastore]


def datastores_file() -> Path:
    """Where datastores are kept."""
    return Path(os.environ.get(FILE_VARIABLE) or _DEFAULT_FILE)


def load_datastores() -> dict[str, Datastore]:
    """All registered datastores by name; none where there is no file yet. Raises ConfigError for a damaged file."""
    file = datastores_file()
    todo = f"Repair it, or remove it and register anew; {FILE_VARIABLE} names another file."
    try:
        data = read_small_file(file, _MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such name is possible"
        raise ConfigError(f"Datastores {file}: {reason}. {todo}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"Datastores {file}: larger than such a file can be, 1 MB. {todo}")
    try:
        datastores = _Content.model_validate(json.loads(data.decode("utf-8-sig"))).datastores
    except (ValidationError, ValueError, RecursionError):
        # What is wrong is not quoted: it may be a secret.
        raise ConfigError(
            f'Datastores {file}: wanted JSON, {{"datastores": {{NAME: {{"url", "key"}}}}}}. {todo}'
        ) from None
    return {name: _checked(name, datastore) for name, datastore in datastores.items()}


def register_datastore(name: str, url: str, key: str | None = None) -> Datastore | None:
    """Give a container, or a path in it, a name; returns what the name stood for before.

    `key` is a reference to an account key, a SAS or a connection string: `env:NAME` or `file:PATH`. Without one, it is
    entered by Azure's credential chain, or anonymously. Raises ConfigError, OutputError.
    """
    new = _checked(name, Datastore(url=url, key=key))
    with _locked() as file:
        stores = load_datastores()
        before = stores.get(name)
        _write(file, {**stores, name: new})
    return before


def remove_datastore(name: str) -> None:
    """Forget a name; the container stays as it is. Raises ConfigError where there is no such name, OutputError."""
    with _locked() as file:
        stores = load_datastores()
        _named(name, stores)
        _write(file, {key: datastore for key, datastore in stores.items() if key != name})


def resolve_datastore(address: str) -> tuple[str, str | None]:
    """The URL, without a secret, that `datastore://name/path` stands for, and the reference to its key.

    The path is taken as it is, not percent-decoded, and may be a pattern. Raises ConfigError.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"Found {_shown(address)}, wanted datastore://NAME/PATH.")
    name, path = match.groups()
    store = _named(name, load_datastores())
    if _QUERY.search(path):
        raise ConfigError(
            f"datastore://{name}: a query stands in its path. Name the SAS when you register the datastore, "
            "with --key env:NAME or file:PATH."
        )
    location, _ = parse_blob_url(store.url)
    url = (location.join(path) if path else location).url
    parse_blob_url(url)  # the path may be one that cannot be
    return url, store.key


def _named(name: str, stores: dict[str, Datastore]) -> Datastore:
    if name not in stores:
        known = f"Registered: {', '.join(sorted(stores))[:1000]}" if stores else "None is registered"
        raise ConfigError(
            f"There is no datastore {_shown(name)} in {datastores_file()}. {known}. "
            "Add one: loadcast datastore register NAME URL."
        )
    return stores[name]


def _checked(name: str, store: Datastore) -> Datastore:
    """The datastore with its URL in one form. Raises ConfigError, which quotes no secret."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"Datastore {_shown(name)}: wanted a name of up to 63 letters, digits, - and _.")
    how = f"Put it into an environment variable or a file: loadcast datastore register {name} URL --key env:VARIABLE"
    if store.key is not None and not is_reference(store.key):
        raise ConfigError(f"Datastore {name}: key is wanted as env:NAME or file:PATH, never the key itself. {how}")
    try:
        location, signature = parse_blob_url(store.url)
    except ConfigError as error:
        raise ConfigError(f"Datastore {name}: {error}") from None
    if signature is not None:
        raise ConfigError(
            f"Datastore {name}: {location.url} has a SAS behind it, and no secret is kept. {how}, with the SAS in "
            "VARIABLE and the URL up to its question mark."
        )
    return Datastore(url=location.url, key=store.key)


@contextmanager
def _locked() -> Iterator[Path]:
    """Give the file while no other process changes it. Raises OutputError where it cannot be written."""
    file = Path(os.path.realpath(datastores_file()))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(folder)
    except OSError as error:
        raise OutputError(
            f"Cannot write {file}: {error.strerror or error}. {FILE_VARIABLE} names another file."
        ) from error


def _write(file: Path, stores: dict[str, Datastore]) -> None:
    """Replace the file by one that appears whole."""
    content = _Content(datastores=dict(sorted(stores.items()))).model_dump(exclude_none=True)
    replace_file(file, (json.dumps(content, indent=2) + "\n").encode())


def _shown(text: str) -> str:
    return shown(repr(text), _SHOWN_CHARACTERS)
