"""Which right to enter a container a configuration or URL gives, or the machine has."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from urllib.parse import urlsplit

from loadcast.errors import ConfigError, InputError
from loadcast.references import read_reference
from loadcast.storage.blob.access import ANONYMOUS, TOKEN_SCOPE, Access, make_chain
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.redaction import quiet_loggers

#: Seconds that the credential chain may take. Where there is none, it has to find out without holding up a run.
CHAIN_TIMEOUT_S = 8.0
_WANTED = "Wanted an account key, a SAS or a connection string, as the Azure portal shows them."


def resolve_access(location: BlobLocation, reference: str | None, sas: str | None) -> Access:
    """How to enter the location's container.

    By the reference (env:NAME, file:PATH), else by the SAS of its URL, else by Azure's default credential chain, else
    without credentials. The caller gives a reference for the account that it is of only. Raises ConfigError.
    """
    if reference is not None:
        return _of_secret(read_reference(reference, "storageKey", _WANTED), location, reference)
    if sas is not None:
        return Access("sas", _clean_sas(sas, f"{location.url}: its query"))
    # Tokens may not be sent without encryption.
    if not location.endpoint.startswith("https://") or not _has_token():
        return ANONYMOUS
    # Machines in Azure have an identity for whatever they do: it need not be known to a container that is public.
    chain = Access("chain")
    return ANONYMOUS if not _is_let_in(location, chain) and _is_let_in(location, ANONYMOUS) else chain


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
