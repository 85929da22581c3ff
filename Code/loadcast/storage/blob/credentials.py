"""Which right to enter a container a configuration or URL gives, or the machine has."""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

from loadcast.errors import ConfigError, InputError
from loadcast.storage.blob.access import ANONYMOUS, TOKEN_SCOPE, Access, make_chain
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.redaction import quiet_loggers
from loadcast.system.small_files import read_small_file

#: Seconds that the credential chain may take. Where there is none, it has to find out without holding up a run.
CHAIN_TIMEOUT_S = 8.0
_LARGEST_SECRET_BYTES = 16 << 10
_WANTED = "Wanted an account key, a SAS or a connection string, as the Azure portal shows them."


def read_reference(reference: str) -> str:
    """The secret that `env:NAME` or `file:PATH` refers to. Raises ConfigError that names the reference only."""
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        text = os.environ.get(name, "")
        problem = "the environment has no such variable, or an empty one"
    elif kind == "file" and name:
        text, problem = _read_file(name)
    else:
        # What was found may be the secret itself: it must not be echoed.
        raise ConfigError("storageKey: wanted a reference, env:NAME or file:PATH, never the key itself.")
    text = text.strip()
    if not text:
        raise ConfigError(f"storageKey {reference}: {problem}. {_WANTED}")
    return text


def resolve_access(location: BlobLocation, reference: str | None, sas: str | None) -> Access:
    """How to enter the location's container.

    By the reference (env:NAME, file:PATH), else by the SAS of its URL, else by Azure's default credential chain, else
    without credentials. The caller gives a reference for the account that it is of only. Raises ConfigError.
    """
    if reference is not None:
        return _of_secret(read_reference(reference), location, reference)
    if sas is not None:
        return Access("sas", _clean_sas(sas, f"{location.url}: its query"))
    # Tokens may not be sent without encryption.
    if not location.endpoint.startswith("https://") or not _has_token():
        return ANONYMOUS
    # Machines in Azure have an identity for whatever they do: it need not be known to a container that is public.
    chain = Access("chain")
    return ANONYMOUS if not _is_let_in(location, chain) and _is_let_in(location, ANONYMOUS) else chain


def _read_file(name: str) -> tuple[str, str]:
    try:
        data = read_small_file(Path(name).expanduser(), _LARGEST_SECRET_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        return "", f"it cannot be read ({getattr(error, 'strerror', None) or 'no such name is possible'})"
    if len(data) > _LARGEST_SECRET_BYTES:
        return "", f"the file has more than {_LARGEST_SECRET_BYTES >> 10} KB"
    try:
        return data.decode("utf-8-sig"), "the file is empty"
    except UnicodeDecodeError:
        return "", "the file is not UTF-8 text"


def _of_secret(text: str, location: BlobLocation, reference: str) -> Access:
    source = f"storageKey {reference}"
    if re.search(r"(^|;)\s*(AccountKey|SharedAccessSignature)\s*=", text, re.IGNORECASE):
        return _of_connection_string(text, location, source)
    if re.search(r"(^|[?&])sig=", text, re.IGNORECASE):
        return Access("sas", _clean_sas(text, source))
    return Access("key", _clean_key(text, source))


def _of_connection_string(text: str, location: BlobLocation, source: str) -> Access:
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    values = {name.strip().lower(): value.strip() for name, _, value in pairs}
    account, endpoint = values.get("accountname"), values.get("blobendpoint", "").rstrip("/")
    if account and account.lower() != location.account:
        raise ConfigError(
            f"{source} is a connection string of another account than {location.account}, and is not sent there. "
            "Set storageAccount to the connection string's AccountName, or give the key of this account."
        )
    if endpoint and urlsplit(endpoint.lower())[:3] != urlsplit(location.endpoint)[:3]:
        raise ConfigError(
            f"{source} is a connection string for another endpoint than {location.endpoint}, and is not sent there. "
            "Set storageEndpoint to the connection string's BlobEndpoint."
        )
    if values.get("sharedaccesssignature"):
        return Access("sas", _clean_sas(values["sharedaccesssignature"], source))
    return Access("key", _clean_key(values.get("accountkey", ""), source))


def _clean_sas(text: str, source: str) -> str:
    """A SAS without the URL it may have been copied with."""
    sas = text.rpartition("?")[2].strip("&")
    if not re.fullmatch(r"[\x21-\x7e]+", sas) or not re.search(r"(^|&)sig=[^&]", sas, re.IGNORECASE):
        raise ConfigError(f"{source} is not a SAS: it has no sig=, or signs that cannot be in one. Make a new SAS.")
    return sas


def _clean_key(text: str, source: str) -> str:
    try:
        if len(base64.b64decode(text, validate=True)) >= 16:
            return text
    except (binascii.Error, ValueError):
        pass
    raise ConfigError(f"{source} is neither a key (Base64), a SAS nor a connection string. {_WANTED}")


def _is_let_in(location: BlobLocation, access: Access) -> bool:
    """Whether the container lets this access look for a blob; other faults than a refusal show later."""
    try:
        Container(location.at(""), access).stat("loadcast-may-i")
    except ConfigError:
        return False
    except InputError:
        return True
    return True


def _has_token() -> bool:
    """Whether the chain gives a token, within CHAIN_TIMEOUT_S.

    Asked in a thread, as some of the chain's members have no bound of their own (it ends with the process).
    """
    answer: list[bool] = []

    def ask() -> None:
        from azure.core.exceptions import AzureError

        quiet_loggers()
        try:
            make_chain().get_token(TOKEN_SCOPE)
            answer.append(True)
        except (AzureError, OSError, ValueError):
            answer.append(False)

    thread = threading.Thread(target=ask, name="azure-credential-chain", daemon=True)
    thread.start()
    thread.join(CHAIN_TIMEOUT_S)
    return answer == [True]
