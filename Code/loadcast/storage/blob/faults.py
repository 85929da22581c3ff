"""From what the Azure libraries and the network say to one line that says what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from requests.exceptions import ProxyError, RequestException
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ProxyError as PoolProxyError

from loadcast.errors import ConfigError, InputError, LoadcastError
from loadcast.storage.blob.access import ANONYMOUS, Access
from loadcast.storage.blob.errors import error_code, status_of
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.pace import SlowTransferError
from loadcast.storage.blob.policy import (
    BUSY_STATUSES,
    DAMAGED_REQUEST,
    BrokenAnswerError,
    NotStorageError,
    other_protocol,
    reasons,
)

GONE_CONTAINER = {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
_ENTERING = {401, 403}


@contextmanager
def explained(
    location: BlobLocation, access: Access = ANONYMOUS, kind: type[LoadcastError] = InputError
) -> Iterator[None]:
    """Turn errors of the libraries into ConfigError (credentials) or an error of the given kind (data).

    The new error has no cause and no context: the old one's text may hold the URL with its SAS.
    """
    try:
        yield
        return
    except (AzureError, RequestException, HTTPError, HTTPException, BrokenAnswerError, ConnectionError) as error:
        problem = explain(error, location, access, kind)
    except (TimeoutError, socket.gaierror, ssl.SSLError) as error:
        problem = explain(error, location, access, kind)
    try:
        raise problem
    finally:
        problem.__context__ = None


def explain(
    error: BaseException, location: BlobLocation, access: Access = ANONYMOUS, kind: type[LoadcastError] = InputError
) -> LoadcastError:
    """The error for the user, without any secret. `location` is what was asked for."""
    if isinstance(error, HttpResponseError) and error.response is not None and status_of(error) >= 400:
        return _of_answer(error, location, access, kind)
    if isinstance(error, ClientAuthenticationError):
        if access.kind == "login":
            return ConfigError(f"Cannot enter {_container_url(location)}: {refused_login(error)}")
        return ConfigError(
            f"Cannot enter {_container_url(location)}: Azure's credential chain gives no token any more. "
            "Log in again with `az login`, or set storageKey to env:NAME or file:PATH of an account key or a SAS."
        )
    return _of_network(error, location, kind)


def refused_login(error: ClientAuthenticationError) -> str:
    """What azure-identity says of a login that gives no token, in one line, and what to do."""
    said = str(error.message or error).strip().splitlines() or ["no reason was given"]
    return f"the login gives no token ({said[0].rstrip('.')}). Check its fields, or log in again with `az login`."


def _of_answer(
    error: HttpResponseError, location: BlobLocation, access: Access, kind: type[LoadcastError]
) -> LoadcastError:
    status, code = status_of(error), error_code(error)
    said = f"the server answered {status}{f' ({code})' if code.isalnum() else ''}"
    if status in _ENTERING or code in {"PublicAccessNotPermitted", "NoAuthenticationInformation"}:
        return ConfigError(_of_refusal(error, code, location, access))
    if code in GONE_CONTAINER or (status == 404 and not location.path):
        return kind(
            f"There is no container {location.container!r} in the storage account {location.account} "
            f"({location.endpoint}), or it is being deleted. Check its name, or create it."
        )
    if access.kind == "anonymous" and status == 404 and code == "ResourceNotFound":
        # Azure's answer to strangers, whether or not there is such a container.
        return ConfigError(_of_refusal(error, code, location, access))
    if status == 404:
        return kind(f"There is no blob {location}. Check its name.")
    if code in {"LeaseAlreadyPresent", "LeaseIdMissing", "LeaseIdMismatchWithBlobOperation"}:
        return kind(f"{location} is locked by another program. Wait until it is done, or break the lease.")
    if status == 412:
        return kind(f"{location} was changed while it was in use. Run again when nobody writes to it.")
    if code == DAMAGED_REQUEST:
        return kind(
            f"{location}: what was sent was damaged on the way, at every attempt. "
            "Check the network and any proxy, or use https, and run again."
        )
    if status in BUSY_STATUSES:
        return kind(
            f"The storage account {location.account} is too busy or has a fault: {said} at every attempt. "
            "Try again later, or with fewer workers."
        )
    return kind(f"Cannot work with {location}: {said}. Check the address, and that the account is a blob storage.")


def _of_refusal(error: HttpResponseError, code: str, location: BlobLocation, access: Access) -> str:
    """Why credentials were refused, and what to do; by their kind."""
    url = _container_url(location)
    if code in {"AuthorizationFailure", "IpAuthorizationFailure"} and access.kind in {"chain", "login"}:
        return f"{url}: its firewall keeps this machine out. Allow its network in the account's settings."
    if code == "AccountIsDisabled":
        return f"{url}: the storage account is disabled. Enable it, or name another."
    if access.kind == "sas":
        return _of_sas(error, code, url, access.secret)
    if access.kind == "key":
        return (
            f"{url} refuses the account key. Check that storageKey refers to a key of the storage account "
            f"{location.account} that has not been replaced, and that this machine's clock is right."
        )
    if access.kind == "chain":
        return (
            f"{url} refuses the identity that Azure's credential chain found. Give it the role Storage Blob Data "
            "Reader (for output: Contributor), or set storageKey to env:NAME or file:PATH of an account key or a SAS."
        )
    if access.kind == "login":
        return f"{url} refuses this login. Give its identity the role Storage Blob Data Contributor there."
    return (
        f"{url} is not public, and no credentials were found. Set storageKey to env:NAME or file:PATH of an account "
        "key or a SAS, put a SAS into the URL, or log in with `az login`."
    )


def _of_sas(error: HttpResponseError, code: str, url: str, sas: str) -> str:
    fields = parse_qs(sas)
    now = _server_time(error)
    start, expiry = (_time(fields.get(name, [""])[0]) for name in ("st", "se"))
    if expiry and expiry <= now:
        return f"The SAS for {url} expired on {expiry:%Y-%m-%d at %H:%M:%S} UTC. Make a new one, and run again."
    if start and start > now:
        return (
            f"The SAS for {url} is not valid before {start:%Y-%m-%d, %H:%M:%S} UTC (it is {now:%H:%M:%S} there now). "
            "Wait, or make one that starts some minutes in the past."
        )
    if code.startswith("Authorization") and "Mismatch" in code:
        given = "".join(fields.get("sp", [""])[:1])
        given = f" (it gives {given})" if given.isalpha() else ""
        return (
            f"The SAS for {url} does not permit this{given}. Make one that permits read and list (rl), "
            "for output also add, create, write and delete (racwdl)."
        )
    return (
        f"{url} refuses the SAS. Check that it is of this container or account and was copied whole, or make a new one."
    )


def _server_time(error: HttpResponseError) -> datetime:
    """The server's time, as this machine's clock may be what is wrong."""
    headers = getattr(error.response, "headers", None) or {}
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return datetime.now(UTC)


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _of_network(error: BaseException, location: BlobLocation, kind: type[LoadcastError]) -> LoadcastError:
    chain = list(reasons(error))
    host = urlsplit(location.endpoint).netloc
    unusable = _of_address(chain, host, location)
    if unusable:
        return kind(unusable)
    if any(isinstance(reason, ConnectionRefusedError) for reason in chain):
        return kind(
            f"Nothing answers at {host}: the connection was refused at every attempt. "
            "Check the address (storageEndpoint), and that the server runs."
        )
    if any(isinstance(reason, (BrokenAnswerError, HttpResponseError)) for reason in chain):
        said = error if isinstance(error, BrokenAnswerError) else "the server's answer was cut or damaged on the way"
        return kind(f"{location}: {said}, at every attempt. Check the network and any proxy, and run again.")
    what = "the connection breaks off"
    if any(isinstance(reason, SlowTransferError) for reason in chain):
        what = "what it sends or takes comes too slowly"
    elif any(isinstance(reason, TimeoutError) or "Timeout" in type(reason).__name__ for reason in chain):
        what = "it does not answer in time"
    return kind(f"No network to {host}: {what}, at every attempt. Check the network and any firewall, and run again.")


def _of_address(chain: list[BaseException], host: str, location: BlobLocation) -> str | None:
    """What is to be said where the network works, and leads elsewhere than to a blob server; else None."""
    if any(isinstance(reason, (ProxyError, PoolProxyError)) for reason in chain):
        return f"The proxy on the way to {host} does not let us through. Check HTTPS_PROXY and NO_PROXY."
    for reason in chain:
        if isinstance(reason, socket.gaierror):
            return _of_name_lookup(reason, host, location)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {host} cannot be trusted: {getattr(reason, 'verify_message', 'not verified')}. "
                "Where a proxy of your own signs it, name that proxy's certificate in REQUESTS_CA_BUNDLE."
            )
        if isinstance(reason, NotStorageError):
            return (
                f"What answers at {host} is {reason}, at every attempt: a network's login page, a proxy, or another "
                "server. Log in to the network, check HTTPS_PROXY and the address (storageEndpoint), and run again."
            )
    spoken = other_protocol(chain[0])
    if spoken == "http":
        return (
            f"{host} was asked by https and does not speak it. Write http:// if the server has no encryption (as an "
            "emulator), or check the port (storageEndpoint, or the URL)."
        )
    if spoken == "https":
        return f"{host} was asked by http and speaks https. Write https:// (storageEndpoint, or the URL)."
    return None


def _of_name_lookup(reason: socket.gaierror, host: str, location: BlobLocation) -> str:
    if reason.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
        return (
            f"There is no storage account {location.account}: the host {host} is not known. Check the account's name "
            "(storageAccount, or the URL), and that this machine can look up names of the Internet."
        )
    return f"No network to {host}: its name cannot be looked up ({reason.strerror}). Check the network, and run again."


def _container_url(location: BlobLocation) -> str:
    return f"{location.endpoint}/{location.container}"
