"""Addresses of blobs: from a URL, in any of the forms in use, to account, container and path, and back.

wasb[s]://container@account.blob.core.windows.net/path
abfs[s]://container@account.dfs.core.windows.net/path       the dfs endpoint is read as the blob endpoint
https://account.blob.core.windows.net/container/path?SAS
http://127.0.0.1:10000/devstoreaccount1/container/path      an emulator: the account stands in the path
wasb://container@account/path                               an account of the configuration
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urlsplit

from loadcast.errors import ConfigError
from loadcast.secrets import shown

_SCHEMES = re.compile(r"(wasbs?|abfss?|https?)://", re.IGNORECASE)
#: Where a URL's query begins. A `?` with anything else behind it is a sign of a pattern.
_QUERY = re.compile(r"\?(?=[A-Za-z-]+=)")
_SIGNATURE = re.compile(r"(^|&)sig=[^&]", re.IGNORECASE)
#: Azure's rule for containers, with the three that have names of their own.
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|\$root|\$web|\$logs")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
#: `account.blob.suffix`, in every cloud; also the other names of the same account.
_ACCOUNT_HOST = re.compile(
    r"(?P<account>[a-z0-9]{3,24})(?P<kind>-secondary|-ipv6|-dualstack)*(?P<zone>\.z[0-9]+)?\.(blob|dfs)\.(?P<suffix>[a-z0-9.-]+)"
)
_LONGEST_NAME = 1024
_SHOWN_CHARACTERS = 200
_FORMS = (
    "Wanted wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PATH, abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH "
    "or https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH."
)


@dataclass(frozen=True)
class BlobLocation:
    """A blob, a folder of blobs (a common start of names), or with the path "" the container itself.

    `endpoint` is the account's URL without a slash at its end, `path` a name or pattern as it is, not percent-encoded.
    """

    endpoint: str
    container: str
    path: str = ""

    @property
    def account(self) -> str:
        """The storage account's name: what keys are signed for."""
        parts = urlsplit(self.endpoint)
        if parts.path.strip("/"):
            return parts.path.strip("/").rpartition("/")[2]
        host = _ACCOUNT_HOST.fullmatch(parts.hostname or "")
        return host["account"] if host else (parts.hostname or "").partition(".")[0]

    @property
    def url(self) -> str:
        """The blob's https URL, percent-encoded; it holds no SAS."""
        # Stars and brackets stay as they are, so that patterns in messages can be read.
        path = f"/{quote(self.path, safe='/~*[]!,', errors='backslashreplace')}" if self.path else ""
        return f"{self.endpoint}/{self.container}{path}"

    def __str__(self) -> str:
        return self.url

    def at(self, path: str) -> BlobLocation:
        """The place of another path in the same container."""
        return replace(self, path=path)

    def join(self, name: str) -> BlobLocation:
        """The place of a name below this one."""
        return self.at(f"{self.path.rstrip('/')}/{name}" if self.path else name)


def joined(prefix: str, *parts: str) -> str:
    """The name of a blob, or a start of names, below the path `prefix` of a container (empty: the container itself)."""
    return "/".join([*filter(None, [prefix.strip("/")]), *parts])


def parse_blob_url(text: str, endpoints: Mapping[str, str] | None = None) -> tuple[BlobLocation, str | None]:
    """The location that a URL names, and the SAS in it, if any.

    `endpoints` gives the endpoints of accounts named without a host. Paths in https URLs are percent-decoded; those in
    wasb and abfs URLs are taken as they are, as Hadoop does. Raises ConfigError, with no query in its message.
    """
    match = _SCHEMES.match(text)
    address, *query = _QUERY.split(text, maxsplit=1)
    if match is None:
        raise ConfigError(f"{_shown(address)} is no address of a blob. {_FORMS}")
    if query and not _SIGNATURE.search(query[0]):
        raise ConfigError(f"{_shown(address)} has a query that is no SAS (it has no sig=). Remove the query.")
    authority, _, path = address[match.end() :].partition("/")
    scheme = match[1].lower()
    known = {account: endpoint.rstrip("/") for account, endpoint in (endpoints or {}).items()}
    if scheme.startswith("http"):
        location = _of_https(address, scheme, authority, path, known)
    else:
        location = _of_hadoop(address, authority, path, known)
    _check(location, address)
    return location, query[0] if query else None


def check_name(name: str) -> None:
    """Raise ValueError with a reason unless a blob of this name can be asked for.

    Parts `.` and `..` are resolved by web servers and clients on the way, so another blob would answer.
    """
    if not name or len(name) > _LONGEST_NAME:
        raise ValueError(f"has {len(name):,} characters, wanted 1 to {_LONGEST_NAME:,}")
    if "\\" in name:
        raise ValueError("has a backslash, which servers take for a slash")
    if any(part in {".", ".."} for part in name.split("/")):
        raise ValueError("has a part that is . or ..")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not Unicode text") from None
    if any(ord(sign) < 0x20 or sign in "\x7f\ufffe\uffff" for sign in name):
        raise ValueError("has a control character")


def _of_https(address: str, scheme: str, authority: str, path: str, known: Mapping[str, str]) -> BlobLocation:
    if "@" in authority:
        shown = _shown(address.replace(authority, authority.rpartition("@")[2], 1))
        raise ConfigError(f"{shown}: found a user name or password before it. {_FORMS}")
    try:
        path = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise ConfigError(f"{_shown(address)} is not UTF-8 when percent-decoded. Write its path anew.") from None
    base = f"{scheme}://{authority}".lower()
    for endpoint in known.values():
        if f"{base}/{path}/".startswith(f"{endpoint}/"):
            container, _, rest = f"{base}/{path}"[len(endpoint) + 1 :].partition("/")
            return BlobLocation(endpoint, container, rest.lstrip("/"))
    host = _host(address, base)
    account_host = _ACCOUNT_HOST.fullmatch(host)
    if account_host:
        container, _, rest = path.partition("/")
        return BlobLocation(_blob_endpoint(base), container, rest.lstrip("/"))
    if not _is_path_style(host):
        raise ConfigError(
            f"{_shown(address)}: {host or 'no host'} is not the blob endpoint of a storage account. {_FORMS} "
            "Where the account has another endpoint, set storageEndpoint."
        )
    account, _, rest = path.partition("/")
    container, _, rest = rest.partition("/")
    if not _ACCOUNT.fullmatch(account):
        raise ConfigError(
            f"{_shown(address)}: found the account {_shown(account)!r}; wanted {base}/ACCOUNT/CONTAINER/PATH, "
            "with an account of 3 to 24 small letters and digits."
        )
    return BlobLocation(f"{base}/{account}", container, rest.lstrip("/"))


def _of_hadoop(address: str, authority: str, path: str, known: Mapping[str, str]) -> BlobLocation:
    container, at, host = authority.rpartition("@")
    if not at:
        raise ConfigError(f"{_shown(address)} names no container. {_FORMS}")
    host = host.lower()
    path = path.lstrip("/")
    if host in known:
        return BlobLocation(known[host], container, path)
    if "." not in host:
        raise ConfigError(
            f"{_shown(address)}: the account {_shown(host)!r} is not known. Write its whole host, such as "
            "ACCOUNT.blob.core.windows.net, or name it in storageAccount (and storageEndpoint)."
        )
    # Always https: wasb and abfs without s are how older scripts spell it, and keys must not travel in the clear.
    endpoint = f"https://{host}"
    if not _ACCOUNT_HOST.fullmatch(_host(address, endpoint)):
        raise ConfigError(
            f"{_shown(address)}: {_shown(host)} is not the blob endpoint of a storage account. {_FORMS} "
            "Where the account has another endpoint, set storageAccount and storageEndpoint, and write "
            "wasbs://CONTAINER@ACCOUNT/PATH."
        )
    return BlobLocation(_blob_endpoint(endpoint), container, path)


def _host(address: str, base: str) -> str:
    try:
        parts = urlsplit(base)
        _ = parts.port  # a ValueError where it is no number
        return parts.hostname or ""
    except ValueError:
        raise ConfigError(f"{_shown(address)}: its host or port cannot be. {_FORMS}") from None


def _blob_endpoint(base: str) -> str:
    """The endpoint that speaks the blob protocol, of the one given."""
    scheme, _, host = base.partition("://")
    account, _, rest = host.partition(".")
    rest = re.sub(r"^(z[0-9]+\.|)dfs\.", r"\1blob.", rest)
    return f"{scheme}://{account}.{rest}"


def _is_path_style(host: str) -> bool:
    """Whether a host serves many accounts: no storage account has an IP address or a name without dots to itself."""
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        return host != "" and ("." not in host or host.endswith(".localhost"))


def _check(location: BlobLocation, address: str) -> None:
    if not _CONTAINER.fullmatch(location.container):
        raise ConfigError(
            f"{_shown(address)}: found the container {_shown(location.container)!r}; wanted 3 to 63 small letters, "
            f"digits and single hyphens. {_FORMS}"
        )
    if location.path.rstrip("/"):
        try:
            check_name(location.path)
        except ValueError as problem:
            raise ConfigError(f"{_shown(address)}: the path {problem}. Name the blob without it.") from None


def _shown(text: str) -> str:
    return shown(text, _SHOWN_CHARACTERS)
