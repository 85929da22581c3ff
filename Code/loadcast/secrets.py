"""Secrets stay where their owner keeps them: references to them, and texts without them."""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+")
#: What follows in a URL may be a secret: a shared access signature, or a password before the host.
_SECRET_PART = re.compile(r"(?<=\?)[^'\"\s]*=[^'\"\s]*|(?<=://)[^/@\s]*:[^/@\s]*(?=@)")


def is_reference(text: str) -> bool:
    """Whether a text says where a secret is, `env:NAME` or `file:PATH`, and so cannot be the secret itself."""
    return _REFERENCE.fullmatch(text) is not None


def without_secrets(text: str) -> str:
    """A text with the secrets of the URLs in it, such as shared access signatures, left out."""
    return _SECRET_PART.sub("…", text) if "://" in text else text
