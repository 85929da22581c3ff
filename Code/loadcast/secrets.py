"""Secrets stay where their owner keeps them: references to them, and texts without them."""

from __future__ import annotations

import re

from loadcast.printable import printable

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+")
_VAULT_REFERENCE = re.compile(r"keyvault:([A-Za-z0-9-]{1,127})")
#: Longer texts are cut before they are searched, which takes its time; what is cut in two there is not shown.
_LONGEST_SEARCHED = 100_000
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*:/{1,2}"  # one slash: paths lose the other
#: Secrets that are marked as such, or have the form of an Azure key; what is marked is the first group.
_MARKED = (
    # A SAS: its signature, plain or percent-encoded; also where the whole query is encoded once more.
    re.compile(r"((?<![A-Za-z])sig(?:=|%(?:25)*3D))[^&\s'\"<>]+", re.IGNORECASE),
    re.compile(r"(AccountKey\s*(?:=|%3D)\s*)[^;&\s'\"]+", re.IGNORECASE),
    re.compile(r"(SharedKey(?:Lite)?\s+\S+?:)[A-Za-z0-9+/=]+"),
    re.compile(r"(Bearer\s+)[A-Za-z0-9._~+/=-]+"),
    # Base64 to its end; a single `=` may also stand in a path, as in `year=*`.
    re.compile(
        r"()(?<![A-Za-z0-9+/%])[A-Za-z0-9+/%]{40,}"
        r"(?:(?:==|%3D%3D)(?![A-Za-z0-9=%])|(?:=|%3D)(?=$|[\s;&'\"),.:>]))",
        re.IGNORECASE,
    ),
)
#: What stands before the host: a name and password (which may hold a slash), a token, or the container of a blob URL.
_USER = re.compile(rf"({_SCHEME})([^/@:\s'\"]{{0,512}}:(?!\d+(?:/|$))[^\s'\"]{{0,512}}|[^/\s'\"]{{0,512}})@")
_CONTAINER_SCHEMES = re.compile(r"(?i)(wasbs?|abfss?):")
_QUERY = re.compile(r"\?[^?=\s'\"]*=[^\s'\"]*")


def is_reference(text: str) -> bool:
    """Whether a text says where a secret is, `env:NAME` or `file:PATH`, and so cannot be the secret itself."""
    return _REFERENCE.fullmatch(text) is not None


def vault_secret(text: str) -> str | None:
    """The name of a secret in a Key Vault that a text refers to, `keyvault:NAME`; None where it does not."""
    match = _VAULT_REFERENCE.fullmatch(text)
    return match and match[1]


def redacted(text: str) -> str:
    """A text without what is marked as a signature, key or token, or has the form of an account key."""
    for secret in _MARKED:
        text = secret.sub(r"\1REDACTED", text)
    return text


def without_secrets(text: str) -> str:
    """A text without signatures, keys, tokens, and the passwords and queries of its URLs."""
    text = redacted(text)
    if ":/" in text:
        text = _QUERY.sub("?…", _USER.sub(_without_user, text))
    return text


def shown(value: object, longest: int = 500) -> str:
    r"""An address, path or sentence for a message: one line of at most `longest` characters, without secrets.

    Signs that could drive a terminal are escaped; bytes of a file's name that are not UTF-8 are `\xNN`.
    """
    text = without_secrets(str(value)[:_LONGEST_SEARCHED])[: longest + 1]
    text = printable(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _without_user(match: re.Match[str]) -> str:
    is_container = _CONTAINER_SCHEMES.match(match[1]) and ":" not in match[2]
    return match[0] if is_container or not match[2] else f"{match[1]}…@"
